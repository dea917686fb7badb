# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
#
# What "make check" runs: unit tests of lib/vhost, and an autotest suite for the
# plugin in a switch.
#
# A unit test tests/unit/test-NAME.c is added to unit_tests and nowhere else; if
# it has more than the one source file, tests_unit_test_NAME_SOURCES names them.
# A file of the suite is added to TESTSUITE_AT and included by testsuite.at.

unit_tests = \
	tests/unit/test-capture \
	tests/unit/test-copy \
	tests/unit/test-crash \
	tests/unit/test-driver \
	tests/unit/test-extras \
	tests/unit/test-faults \
	tests/unit/test-hostile \
	tests/unit/test-iommu \
	tests/unit/test-log \
	tests/unit/test-message-log \
	tests/unit/test-notifier \
	tests/unit/test-packed \
	tests/unit/test-peers \
	tests/unit/test-policer \
	tests/unit/test-postcopy \
	tests/unit/test-protocol \
	tests/unit/test-record \
	tests/unit/test-ring \
	tests/unit/test-scribble \
	tests/unit/test-socket-file \
	tests/unit/test-state \
	tests/unit/test-stop \
	tests/unit/test-transport \
	tests/unit/test-warnings

# What is decided in lib/netdev without Open vSwitch.
tests_unit_test_warnings_SOURCES = \
	tests/unit/test-warnings.c \
	lib/netdev/nearest.c \
	lib/netdev/warning-rules.c

# The parts of lib/netdev that need no switch.
tests_unit_test_capture_SOURCES = \
	tests/unit/test-capture.c \
	lib/netdev/capture-ring.c \
	lib/netdev/capture-ring.h \
	lib/netdev/pcapng.c \
	lib/netdev/pcapng.h

# What unit tests share.
check_LIBRARIES += tests/unit/libunit.a
tests_unit_libunit_a_SOURCES = \
	tests/unit/attack.c \
	tests/unit/attack.h \
	tests/unit/harness.c \
	tests/unit/harness.h \
	tests/unit/machine.c \
	tests/unit/machine.h \
	tests/unit/rig.c \
	tests/unit/rig.h \
	tests/unit/ring-calls.c \
	tests/unit/ring-cases.c \
	tests/unit/ring-cases.h \
	tests/unit/ring-mixed.c \
	tests/unit/watchers.c \
	tests/unit/watchers.h

check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)

# A station in guests and containers.
check_PROGRAMS += tests/station
tests_station_SOURCES = tests/station.c
tests_station_LDADD = -lpthread

# To build them without running them.
PHONY += unit-tests
unit-tests: $(unit_tests)

TESTSUITE_AT = \
	tests/testsuite.at \
	tests/plugin.at \
	tests/sockets.at \
	tests/guests.at \
	tests/traffic.at \
	tests/life.at \
	tests/gaps.at \
	tests/containers.at \
	tests/matrix.at \
	tests/nics.at \
	tests/ovn.at \
	tests/many.at \
	tests/ovs-vhost-guest.at \
	tests/sessions.at \
	tests/packed.at \
	tests/crash.at \
	tests/qemu.at \
	tests/bench.at \
	tests/offloads.at \
	tests/masks.at \
	tests/postcopy.at \
	tests/top.at \
	tests/see.at \
	tests/takeover.at \
	tests/warnings.at \
	tests/placement.at \
	tests/as-printed.at \
	tests/docs.at \
	tests/howto.at \
	tests/capture.at \
	tests/qos.at \
	tests/migration.at \
	tests/no-dpdk.at \
	tests/vhost-macros.at

EXTRA_DIST += \
	$(TESTSUITE_AT) \
	tests/README.md \
	tests/atlocal.in \
	tests/as-printed.py \
	tests/check-bench.py \
	tests/check-compat \
	tests/check-install \
	tests/install.py \
	tests/doc-links.py \
	tests/doc-names.py \
	tests/doc-run.py \
	tests/qemu-life.py \
	tests/east-west.py \
	tests/east_west/__init__.py \
	tests/east_west/bonds.py \
	tests/east_west/changes.py \
	tests/east_west/frames.py \
	tests/east_west/hall.py \
	tests/east_west/hundreds.py \
	tests/east_west/machines.py \
	tests/east_west/stations.py \
	tests/east_west/switching.py \
	tests/east_west/vlans.py \
	tests/north-south.py \
	tests/north_south/__init__.py \
	tests/north_south/copies.py \
	tests/north_south/raw.py \
	tests/north_south/steps.py \
	tests/north_south/wire.py \
	tests/qemu_life/__init__.py \
	tests/qemu_life/cases.py \
	tests/qemu_life/dpdk.py \
	tests/qemu_life/iommu.py \
	tests/qemu_life/life.py \
	tests/qemu_life/takeover.py \
	tests/qemu_life/traffic.py \
	tests/host-nics.py \
	tests/migration.py \
	tests/placement.py \
	tests/recordings/README.md \
	tests/recordings/parrot.py \
	tests/recordings/qemu-10.0.jsonl \
	tests/recordings/qemu-7.2.jsonl \
	tests/recordings/record.py \
	tests/recordings/testpmd.jsonl \
	tests/vhost-completion.bash \
	tests/vhost-capture.py \
	tests/vhost-headers.py \
	tests/vhost-masks.py \
	tests/vhost-offloads.py \
	tests/vhost-peer.py \
	tests/vhost-see.py \
	tests/vhost-state.py \
	tests/vhost-replay.py \
	tests/vhost_replay/__init__.py \
	tests/vhost_replay/bed.py \
	tests/vhost_replay/clouds.py \
	tests/vhost_replay/kubernetes.py \
	tests/vhost_replay/libvirt.py \
	tests/vhost_replay/openstack.py \
	tests/containers.py \
	tests/vhost-top.py
DISTCLEANFILES += tests/atconfig tests/atlocal

if WITH_OVS
if !COMPAT_CHECK
# Plugins for tests of the loader.
check_PROGRAMS += \
	tests/plugins/dummy.so \
	tests/plugins/failing.so \
	tests/plugins/mbuf-watch.so \
	tests/plugins/no-descriptor.so \
	tests/plugins/wrong-abi.so
tests_plugins_dummy_so_SOURCES = tests/plugins/dummy.c
tests_plugins_dummy_so_CPPFLAGS = $(PLUGIN_CPPFLAGS)
tests_plugins_dummy_so_CFLAGS = $(PLUGIN_CFLAGS)
tests_plugins_dummy_so_LDFLAGS = $(LINK_SHARED)
tests_plugins_dummy_so_LDADD =
tests_plugins_failing_so_SOURCES = tests/plugins/failing.c
tests_plugins_failing_so_CPPFLAGS = $(PLUGIN_CPPFLAGS)
tests_plugins_failing_so_CFLAGS = $(PLUGIN_CFLAGS)
tests_plugins_failing_so_LDFLAGS = $(LINK_SHARED)
tests_plugins_failing_so_LDADD =
tests_plugins_mbuf_watch_so_SOURCES = tests/plugins/mbuf-watch.c
tests_plugins_mbuf_watch_so_CPPFLAGS = $(PLUGIN_CPPFLAGS)
tests_plugins_mbuf_watch_so_CFLAGS = $(PLUGIN_CFLAGS)
tests_plugins_mbuf_watch_so_LDFLAGS = $(LINK_SHARED)
tests_plugins_mbuf_watch_so_LDADD =
tests_plugins_no_descriptor_so_SOURCES = tests/plugins/no-descriptor.c
tests_plugins_no_descriptor_so_CPPFLAGS = $(PLUGIN_CPPFLAGS)
tests_plugins_no_descriptor_so_CFLAGS = $(PLUGIN_CFLAGS)
tests_plugins_no_descriptor_so_LDFLAGS = $(LINK_SHARED)
tests_plugins_no_descriptor_so_LDADD =
tests_plugins_wrong_abi_so_SOURCES = tests/plugins/wrong-abi.c
tests_plugins_wrong_abi_so_CPPFLAGS = $(PLUGIN_CPPFLAGS)
tests_plugins_wrong_abi_so_CFLAGS = $(PLUGIN_CFLAGS)
tests_plugins_wrong_abi_so_LDFLAGS = $(LINK_SHARED)
tests_plugins_wrong_abi_so_LDADD =

# What tests of the switch preload into it.
check_PROGRAMS += tests/fake-node.so
tests_fake_node_so_SOURCES = tests/fake-node.c
tests_fake_node_so_LDFLAGS = $(LINK_SHARED)
tests_fake_node_so_LDADD =

$(tests_plugins_dummy_so_OBJECTS): | $(OVS_TREE)
$(tests_plugins_failing_so_OBJECTS): | $(OVS_TREE)
$(tests_plugins_mbuf_watch_so_OBJECTS): | $(OVS_TREE)
$(tests_plugins_no_descriptor_so_OBJECTS): | $(OVS_TREE)
$(tests_plugins_wrong_abi_so_OBJECTS): | $(OVS_TREE)

# The suite uses macros of the Open vSwitch tree and so depends on its version.
# That is why it is not part of the distribution.  This project's tests/ has to
# come first, for package.m4.
TESTSUITE = tests/testsuite
AUTOTEST = $(AUTOM4TE) --no-cache --language=autotest

tests/package.m4: $(top_srcdir)/configure.ac
	$(AM_V_GEN)$(MKDIR_P) tests && { \
	    echo 'm4_define([AT_PACKAGE_NAME],[$(PACKAGE_NAME)])' && \
	    echo 'm4_define([AT_PACKAGE_TARNAME],[$(PACKAGE_TARNAME)])' && \
	    echo 'm4_define([AT_PACKAGE_VERSION],[$(PACKAGE_VERSION)])' && \
	    echo 'm4_define([AT_PACKAGE_STRING],[$(PACKAGE_STRING)])' && \
	    echo 'm4_define([AT_PACKAGE_BUGREPORT],[$(PACKAGE_BUGREPORT)])' && \
	    echo 'm4_define([AT_PACKAGE_URL],[$(PACKAGE_URL)])'; } > $@

$(TESTSUITE): tests/package.m4 $(TESTSUITE_AT)
	$(AM_V_GEN)$(AUTOTEST) -I tests -I '$(srcdir)' -I '$(OVS_SRCDIR)' \
		-o $@.tmp '$(srcdir)/tests/testsuite.at' && mv $@.tmp $@
CLEANFILES += $(TESTSUITE) tests/package.m4

# Own programs first, then those of the tree.  GUEST_DIR is where ovs-vhost-guest
# is: another build's, with ThreadSanitizer, can stand in for this one's.
GUEST_DIR = $(abs_top_builddir)/utilities
AUTOTEST_PATH = $(GUEST_DIR):$(abs_top_builddir)/utilities:$(OVS_BUILDDIR)/vswitchd:$(OVS_BUILDDIR)/ovsdb:$(OVS_BUILDDIR)/utilities:$(OVS_BUILDDIR)/tests
TESTSUITEFLAGS = -j2

# "make check TESTSUITEFLAGS='-j2 -k plugin'" and so on.
CHECK_LOCAL += check-testsuite
check-testsuite: $(TESTSUITE) tests/atlocal $(check_PROGRAMS) $(bin_PROGRAMS) \
		$(plugin_PROGRAMS) $(noinst_PROGRAMS)
	$(SHELL) '$(TESTSUITE)' -C tests AUTOTEST_PATH='$(AUTOTEST_PATH)' \
		$(TESTSUITEFLAGS) </dev/null

CLEAN_LOCAL += clean-testsuite
clean-testsuite:
	rm -rf tests/testsuite.dir tests/testsuite.log
endif !COMPAT_CHECK
endif WITH_OVS

EXTRA_DIST += \
	tests/plugins/dummy.c \
	tests/plugins/failing.c \
	tests/plugins/mbuf-watch.c \
	tests/plugins/no-descriptor.c \
	tests/plugins/wrong-abi.c
