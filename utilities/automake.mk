# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
#
# Programs and scripts that a person runs: those that are compiled are
# installed, and ovs-vhost-container and ovs-vhost-top, which are one file each;
# other scripts need a build of their own and run from the source tree.

# The vhost-user front end and virtqueue driver of unit tests and of
# ovs-vhost-guest.
noinst_LIBRARIES += utilities/guest/libguest.a
utilities_guest_libguest_a_SOURCES = \
	utilities/guest/dirty-log.c \
	utilities/guest/dirty-log.h \
	utilities/guest/fail.h \
	utilities/guest/frontend.h \
	utilities/guest/iommu.c \
	utilities/guest/iommu.h \
	utilities/guest/memory.c \
	utilities/guest/net.c \
	utilities/guest/net.h \
	utilities/guest/protocol.c \
	utilities/guest/vq-format.h \
	utilities/guest/vq-packed.c \
	utilities/guest/vq-split.c \
	utilities/guest/vq.c \
	utilities/guest/vq.h

bin_PROGRAMS = utilities/ovs-vhost-guest
utilities_ovs_vhost_guest_SOURCES = \
	utilities/guest/bridge.c \
	utilities/guest/catch.c \
	utilities/guest/catch.h \
	utilities/guest/echo.c \
	utilities/guest/features.c \
	utilities/guest/features.h \
	utilities/guest/generate.c \
	utilities/guest/help.c \
	utilities/guest/histogram.c \
	utilities/guest/histogram.h \
	utilities/guest/json.c \
	utilities/guest/json.h \
	utilities/guest/main.c \
	utilities/guest/misbehave-message.c \
	utilities/guest/misbehave-packed.c \
	utilities/guest/misbehave-resource.c \
	utilities/guest/misbehave-ring.c \
	utilities/guest/misbehave.c \
	utilities/guest/misbehave.h \
	utilities/guest/options.c \
	utilities/guest/options.h \
	utilities/guest/payload.c \
	utilities/guest/payload.h \
	utilities/guest/pcap.c \
	utilities/guest/pcap.h \
	utilities/guest/port.c \
	utilities/guest/port.h \
	utilities/guest/replay.c \
	utilities/guest/report.c \
	utilities/guest/report.h \
	utilities/guest/session.c \
	utilities/guest/session.h \
	utilities/guest/stream.c \
	utilities/guest/stream.h \
	utilities/guest/worker.c \
	utilities/guest/worker.h
utilities_ovs_vhost_guest_LDADD = utilities/guest/libguest.a

bin_PROGRAMS += utilities/ovs-vhost-session
utilities_ovs_vhost_session_SOURCES = \
	utilities/guest/json.c \
	utilities/guest/json.h \
	utilities/session/dialogue.c \
	utilities/session/driver.c \
	utilities/session/driver.h \
	utilities/session/endpoint.c \
	utilities/session/endpoint.h \
	utilities/session/follow-packed.c \
	utilities/session/follow.c \
	utilities/session/follow.h \
	utilities/session/frame.c \
	utilities/session/frame.h \
	utilities/session/json-read.c \
	utilities/session/json-read.h \
	utilities/session/lane.c \
	utilities/session/lane.h \
	utilities/session/main.c \
	utilities/session/message.c \
	utilities/session/message.h \
	utilities/session/play.c \
	utilities/session/play.h \
	utilities/session/player.h \
	utilities/session/record.c \
	utilities/session/record.h \
	utilities/session/recording.c \
	utilities/session/recording.h \
	utilities/session/base.c \
	utilities/session/base.h \
	utilities/session/show.c \
	utilities/session/show.h \
	utilities/session/stage.c \
	utilities/session/stage.h \
	utilities/session/watch.c \
	utilities/session/watch.h
utilities_ovs_vhost_session_LDADD = utilities/guest/libguest.a

dist_bin_SCRIPTS = \
	utilities/ovs-vhost-container \
	utilities/ovs-vhost-top

dist_man_MANS = \
	utilities/ovs-vhost-container.1 \
	utilities/ovs-vhost-guest.1 \
	utilities/ovs-vhost-session.1 \
	utilities/ovs-vhost-top.1

# bash looks there when it first completes a command of that name.
bashcompletiondir = $(datadir)/bash-completion/completions
completed_commands = ovs-vhost-container ovs-vhost-session ovs-vhost-top \
	ovs-appctl
INSTALL_DATA_LOCAL += install-completion
install-completion:
	$(MKDIR_P) '$(DESTDIR)$(bashcompletiondir)'
	$(INSTALL_DATA) '$(srcdir)/utilities/ovs-vhost-completion.bash' \
		'$(DESTDIR)$(bashcompletiondir)/ovs-vhost-guest'
	cd '$(DESTDIR)$(bashcompletiondir)' && for name in \
	    $(completed_commands); do \
	    ln -sf ovs-vhost-guest $$name || exit 1; \
	done
UNINSTALL_LOCAL += uninstall-completion
uninstall-completion:
	test ! -d '$(DESTDIR)$(bashcompletiondir)' \
	    || { cd '$(DESTDIR)$(bashcompletiondir)' \
		&& rm -f ovs-vhost-guest $(completed_commands); }

EXTRA_DIST += \
	utilities/ovs-vhost-bench \
	utilities/ovs-vhost-bench.1 \
	utilities/ovs-vhost-check \
	utilities/ovs-vhost-deb \
	utilities/ovs-vhost-completion.bash \
	utilities/ovs-vhost-demo \
	utilities/ovs-vhost-gaps \
	utilities/ovs-vhost-gaps.1 \
	utilities/ovs-vhost-lib.sh \
	utilities/ovs-vhost-matrix \
	utilities/ovs-vhost-matrix.1 \
	utilities/ovs-vhost-ovn \
	utilities/ovs-vhost-ovn.1 \
	utilities/ovs_vhost_bench/__init__.py \
	utilities/ovs_vhost_bench/bench.py \
	utilities/ovs_vhost_bench/cases.py \
	utilities/ovs_vhost_bench/changes.py \
	utilities/ovs_vhost_bench/chart.py \
	utilities/ovs_vhost_bench/host.py \
	utilities/ovs_vhost_bench/idle.py \
	utilities/ovs_vhost_bench/jsonrpc.py \
	utilities/ovs_vhost_bench/latency.py \
	utilities/ovs_vhost_bench/linkup.py \
	utilities/ovs_vhost_bench/main.py \
	utilities/ovs_vhost_bench/memory.py \
	utilities/ovs_vhost_bench/results.py \
	utilities/ovs_vhost_bench/ringbench.py \
	utilities/ovs_vhost_bench/side.py \
	utilities/ovs_vhost_bench/tcp.py \
	utilities/ovs_vhost_bench/traffic.py \
	utilities/ovs_vhost_bench/unixctl.py \
	utilities/ovs_vhost_bench/viommu.py \
	utilities/ovs_vhost_bench/windows.py \
	utilities/ovs_vhost_gaps/__init__.py \
	utilities/ovs_vhost_gaps/bed.py \
	utilities/ovs_vhost_gaps/cases.py \
	utilities/ovs_vhost_gaps/emulated.py \
	utilities/ovs_vhost_gaps/leftovers.py \
	utilities/ovs_vhost_gaps/load.py \
	utilities/ovs_vhost_gaps/machines.py \
	utilities/ovs_vhost_gaps/main.py \
	utilities/ovs_vhost_gaps/table.py \
	utilities/ovs_vhost_lab/__init__.py \
	utilities/ovs_vhost_lab/backports.py \
	utilities/ovs_vhost_lab/build.py \
	utilities/ovs_vhost_lab/cases.py \
	utilities/ovs_vhost_lab/container.py \
	utilities/ovs_vhost_lab/demo.py \
	utilities/ovs_vhost_lab/dpdk.py \
	utilities/ovs_vhost_lab/guest.py \
	utilities/ovs_vhost_lab/host_image.py \
	utilities/ovs_vhost_lab/hugepages.py \
	utilities/ovs_vhost_lab/image.py \
	utilities/ovs_vhost_lab/instance.py \
	utilities/ovs_vhost_lab/migration.py \
	utilities/ovs_vhost_lab/netns.py \
	utilities/ovs_vhost_lab/ovn.py \
	utilities/ovs_vhost_lab/process.py \
	utilities/ovs_vhost_lab/results.py \
	utilities/ovs_vhost_lab/station.py \
	utilities/ovs_vhost_lab/steps.py \
	utilities/ovs_vhost_lab/switch.py \
	utilities/ovs_vhost_lab/traffic.py \
	utilities/ovs_vhost_lab/unpacked.py \
	utilities/ovs_vhost_matrix/__init__.py \
	utilities/ovs_vhost_matrix/bed.py \
	utilities/ovs_vhost_matrix/chart.py \
	utilities/ovs_vhost_matrix/dpdk.py \
	utilities/ovs_vhost_matrix/main.py \
	utilities/ovs_vhost_matrix/measure.py \
	utilities/ovs_vhost_matrix/report.py \
	utilities/ovs_vhost_matrix/rungs.py \
	utilities/ovs_vhost_matrix/vhostnet.py \
	utilities/ovs_vhost_ovn/__init__.py \
	utilities/ovs_vhost_ovn/checks.py \
	utilities/ovs_vhost_ovn/cloud.py \
	utilities/ovs_vhost_ovn/main.py \
	utilities/ovs_vhost_ovn/mover.py
