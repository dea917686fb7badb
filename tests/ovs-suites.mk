# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
#
# Open vSwitch's own test suites, run with the plugin: see docs/testing.md.
# None of these targets is part of "make check".
#
#     make check-ovs [TESTSUITEFLAGS='-j2 -k pmd']
#     make check-ovs-dpdk [TESTSUITEFLAGS='-v 3']
#     make check-ovs-userspace [TESTSUITEFLAGS='-k conntrack']
#
# The suites are generated here, from the Open vSwitch tree's files.

EXTRA_DIST += \
	tests/ovs/adapt-dpdk \
	tests/ovs/adapt-userspace \
	tests/ovs/run-suite \
	tests/ovs/userspace-guests.at

if WITH_OVS
if !COMPAT_CHECK
OVS_SUITE = tests/ovs-suite/testsuite
OVS_DPDK_SUITE = tests/ovs-dpdk-suite/system-dpdk-testsuite
OVS_USERSPACE_SUITE = tests/ovs-userspace-suite/userspace-testsuite

# What stands at the other side of ports in the last of these: see
# tests/ovs/userspace-guests.at.  With "veth" there are no guests, but what
# Open vSwitch has there itself.
OVS_VHOST_TYPES = vhostuser vhostuserclient
OVS_VHOST_DPDK = yes

# autom4te looks into the current directory first, where there must not be a
# tests/ of ours.
OVS_AUTOTEST = \
	sed 's/\(AT_PACKAGE_STRING\],\[\)/\1Open vSwitch with /' ../package.m4 \
		> package.m4 && \
	$(AUTOM4TE) --no-cache --language=autotest

# Made anew each time: it takes seconds, and the tree may have changed.
PHONY += ovs-suite ovs-dpdk-suite ovs-userspace-suite
ovs-suite: tests/package.m4
	$(AM_V_GEN)$(MKDIR_P) tests/ovs-suite && cd tests/ovs-suite && \
	$(OVS_AUTOTEST) -I '$(OVS_SRCDIR)' -o testsuite \
		'$(OVS_SRCDIR)/tests/testsuite.at'

ovs-dpdk-suite: tests/package.m4
	$(AM_V_GEN)$(MKDIR_P) tests/ovs-dpdk-suite && \
	$(SHELL) '$(srcdir)/tests/ovs/adapt-dpdk' '$(OVS_SRCDIR)' \
		tests/ovs-dpdk-suite && \
	cd tests/ovs-dpdk-suite && \
	$(OVS_AUTOTEST) -I . -I '$(OVS_SRCDIR)' -o system-dpdk-testsuite \
		'$(OVS_SRCDIR)/tests/system-dpdk-testsuite.at'

ovs-userspace-suite: tests/package.m4
	$(AM_V_GEN)$(MKDIR_P) tests/ovs-userspace-suite && \
	$(SHELL) '$(srcdir)/tests/ovs/adapt-userspace' '$(OVS_SRCDIR)' \
		tests/ovs-userspace-suite '$(OVS_VHOST_TYPES)' && \
	cd tests/ovs-userspace-suite && \
	$(OVS_AUTOTEST) -I . -I '$(OVS_SRCDIR)' -o userspace-testsuite \
		tests/userspace-testsuite.at

# What the tests need besides the switch.  In a tree that is not ours it has to
# be there.
PHONY += ovs-test-programs
if BUILD_OVS
ovs-test-programs: ovs-tree
	+@targets='$$(check_PROGRAMS) $$(check_SCRIPTS) $$(check_DATA)' && \
	echo "ovs-vhost-tests: all-am $$targets" | \
	$(MAKE) -s --no-print-directory -C ovs -f Makefile -f - \
		ovs-vhost-tests $(OVS_MAKEFLAGS)
else !BUILD_OVS
ovs-test-programs:
endif !BUILD_OVS

run_ovs_suite = \
	run () { \
	    suite=$$1 && shift && \
	    plugin=`pwd`/lib/netdev/ovs-vhost.so && \
	    $(SHELL) '$(srcdir)/tests/ovs/run-suite' $$suite \
	        '$(OVS_SRCDIR)' '$(OVS_BUILDDIR)' "$$plugin" "$$@"; \
	}; run

PHONY += check-ovs check-ovs-dpdk check-ovs-userspace
check-ovs: ovs-suite ovs-test-programs $(plugin_PROGRAMS)
	@$(run_ovs_suite) $(OVS_SUITE) $(TESTSUITEFLAGS)

# Each test takes the machine to be its own, so not with -j.
check-ovs-dpdk: ovs-dpdk-suite ovs-test-programs $(plugin_PROGRAMS)
	@$(run_ovs_suite) $(OVS_DPDK_SUITE) $(TESTSUITEFLAGS) -j1

# Neither has this with -j: names of namespaces are always the same.
check-ovs-userspace: ovs-userspace-suite ovs-test-programs \
		$(plugin_PROGRAMS) utilities/ovs-vhost-guest
	@OVS_VHOST_TYPES='$(OVS_VHOST_TYPES)' && \
	OVS_VHOST_DPDK='$(OVS_VHOST_DPDK)' && \
	OVS_VHOST_GUEST=`pwd`/utilities/ovs-vhost-guest && \
	export OVS_VHOST_TYPES OVS_VHOST_DPDK OVS_VHOST_GUEST && \
	$(run_ovs_suite) $(OVS_USERSPACE_SUITE) $(TESTSUITEFLAGS) -j1

CLEAN_LOCAL += clean-ovs-suites
clean-ovs-suites:
	rm -rf tests/ovs-suite tests/ovs-dpdk-suite tests/ovs-userspace-suite
endif !COMPAT_CHECK
endif WITH_OVS
