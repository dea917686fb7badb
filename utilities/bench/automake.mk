# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
#
# ring-bench: a program that is the plugin, librte_vhost and a guest at once.
# Open vSwitch's own libtool links it, since that knows what libopenvswitch.la
# needs.

ring_bench_sources = \
	utilities/bench/bare.c \
	utilities/bench/bench.h \
	utilities/bench/guest.c \
	utilities/bench/main.c \
	utilities/bench/measure.c \
	utilities/bench/ours.c \
	utilities/bench/report.c \
	utilities/bench/run.c \
	utilities/bench/stock.c \
	utilities/bench/stock.h
EXTRA_DIST += $(ring_bench_sources)

if WITH_OVS
if !COMPAT_CHECK
noinst_PROGRAMS += utilities/ring-bench
utilities_ring_bench_SOURCES = \
	$(ring_bench_sources) \
	utilities/guest/payload.c
utilities_ring_bench_CPPFLAGS = \
	-D_GNU_SOURCE $(PLUGIN_CPPFLAGS) -I$(top_srcdir)/utilities
utilities_ring_bench_CFLAGS = $(PLUGIN_CFLAGS)
utilities_ring_bench_LINK = \
	$(OVS_BUILDDIR)/libtool --silent --tag=CC --mode=link \
	$(CC) $(utilities_ring_bench_CFLAGS) $(CFLAGS) $(AM_LDFLAGS) $(LDFLAGS) \
	-o $@
utilities_ring_bench_LDADD = \
	$(lib_netdev_ovs_vhost_so_OBJECTS) lib/vhost/libvhost.a \
	utilities/guest/libguest.a $(OVS_BUILDDIR)/lib/libopenvswitch.la \
	$(NUMA_LIBS) -lm

# What is generated or built in Open vSwitch's tree comes first.
$(utilities_ring_bench_OBJECTS): | $(OVS_TREE)
$(OVS_BUILDDIR)/lib/libopenvswitch.la: | $(OVS_TREE)
endif
endif

# notify-bench needs nothing but lib/vhost.
noinst_PROGRAMS += utilities/notify-bench
utilities_notify_bench_SOURCES = utilities/bench/notify-bench.c
utilities_notify_bench_CFLAGS = $(VHOST_CFLAGS)
utilities_notify_bench_LDADD = lib/vhost/libvhost.a $(NUMA_LIBS)
