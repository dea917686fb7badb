# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
#
# The plugin.  A new source file is added to netdev_sources and nowhere else.
#
# It is a "program" that is linked with -shared: libtool would only add a .la
# file that nobody needs.  Open vSwitch's symbols stay undefined in it, and come
# from ovs-vswitchd.

netdev_sources = \
	lib/netdev/capture-command.c \
	lib/netdev/capture-file.c \
	lib/netdev/capture-file.h \
	lib/netdev/capture-ring.c \
	lib/netdev/capture-ring.h \
	lib/netdev/capture.c \
	lib/netdev/capture.h \
	lib/netdev/commands.h \
	lib/netdev/compat.h \
	lib/netdev/config.c \
	lib/netdev/counters.c \
	lib/netdev/link.c \
	lib/netdev/loop.c \
	lib/netdev/nearest.c \
	lib/netdev/nearest.h \
	lib/netdev/netdev-vhost.c \
	lib/netdev/netdev-vhost.h \
	lib/netdev/offload.c \
	lib/netdev/offload.h \
	lib/netdev/options.c \
	lib/netdev/options.h \
	lib/netdev/packet-pool.c \
	lib/netdev/packet-pool.h \
	lib/netdev/pcapng.c \
	lib/netdev/pcapng.h \
	lib/netdev/pkt-counters.h \
	lib/netdev/plugin.c \
	lib/netdev/police.c \
	lib/netdev/policer.h \
	lib/netdev/private.h \
	lib/netdev/qos-meters.h \
	lib/netdev/qos.c \
	lib/netdev/qos.h \
	lib/netdev/rx.c \
	lib/netdev/show-json.c \
	lib/netdev/show-log.c \
	lib/netdev/show-memory.c \
	lib/netdev/stats.c \
	lib/netdev/sock-access.c \
	lib/netdev/sock-access.h \
	lib/netdev/status.c \
	lib/netdev/takeover.c \
	lib/netdev/tx.c \
	lib/netdev/unixctl.c \
	lib/netdev/warning-rules.c \
	lib/netdev/warning-rules.h \
	lib/netdev/warnings.c \
	lib/netdev/warnings.h

EXTRA_DIST += $(netdev_sources)

if WITH_OVS
if COMPAT_CHECK
check_PROGRAMS += lib/netdev/ovs-vhost.so
else
plugin_PROGRAMS += lib/netdev/ovs-vhost.so
endif
endif
lib_netdev_ovs_vhost_so_SOURCES = $(netdev_sources)
lib_netdev_ovs_vhost_so_CPPFLAGS = $(PLUGIN_CPPFLAGS)
lib_netdev_ovs_vhost_so_CFLAGS = $(PLUGIN_CFLAGS)
lib_netdev_ovs_vhost_so_LDFLAGS = $(LINK_SHARED)
lib_netdev_ovs_vhost_so_LDADD = \
	lib/vhost/libvhost.a $(DPDK_PLUGIN_LIBS) $(NUMA_LIBS)

# For "make check-compat".
PHONY += plugin-objects
if WITH_OVS
plugin-objects: $(lib_netdev_ovs_vhost_so_OBJECTS)

# An Open vSwitch tree that changed gives the ABI another name first.
$(lib_netdev_ovs_vhost_so_OBJECTS): | $(OVS_TREE)
endif
