# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
#
# lib/vhost as a static library.  A new source file is added to vhost_sources
# and nowhere else.

vhost_sources = \
	lib/vhost/backend-channel.c \
	lib/vhost/backend-channel.h \
	lib/vhost/copy-avx2.c \
	lib/vhost/copy-avx512.c \
	lib/vhost/copy.c \
	lib/vhost/copy.h \
	lib/vhost/describe.c \
	lib/vhost/device.c \
	lib/vhost/dirty-log.c \
	lib/vhost/dirty-log.h \
	lib/vhost/dispose.c \
	lib/vhost/dispose.h \
	lib/vhost/gate.h \
	lib/vhost/inflight.c \
	lib/vhost/inflight.h \
	lib/vhost/iommu.c \
	lib/vhost/iommu.h \
	lib/vhost/iotlb.c \
	lib/vhost/iotlb.h \
	lib/vhost/lookahead.c \
	lib/vhost/loop.c \
	lib/vhost/loop.h \
	lib/vhost/map-job.c \
	lib/vhost/map-job.h \
	lib/vhost/mem-table.c \
	lib/vhost/memory.c \
	lib/vhost/memory.h \
	lib/vhost/message-log.c \
	lib/vhost/message-log.h \
	lib/vhost/message-words.c \
	lib/vhost/messages.c \
	lib/vhost/messages.h \
	lib/vhost/names.c \
	lib/vhost/notifier.c \
	lib/vhost/notifier.h \
	lib/vhost/notify.c \
	lib/vhost/notify.h \
	lib/vhost/port.c \
	lib/vhost/port.h \
	lib/vhost/postcopy.c \
	lib/vhost/postcopy.h \
	lib/vhost/record-dir.c \
	lib/vhost/record-file.c \
	lib/vhost/record-file.h \
	lib/vhost/record.c \
	lib/vhost/record.h \
	lib/vhost/residency.c \
	lib/vhost/residency.h \
	lib/vhost/ring-packed.c \
	lib/vhost/ring-split.c \
	lib/vhost/ring.c \
	lib/vhost/ring.h \
	lib/vhost/session.c \
	lib/vhost/sigbus.c \
	lib/vhost/socket-file.c \
	lib/vhost/socket-file.h \
	lib/vhost/state.c \
	lib/vhost/state.h \
	lib/vhost/stop.c \
	lib/vhost/transport.c \
	lib/vhost/vhost.h \
	lib/vhost/vring.h \
	lib/vhost/walk.c \
	lib/vhost/walk.h \
	lib/vhost/wire.h

noinst_LIBRARIES += lib/vhost/libvhost.a
lib_vhost_libvhost_a_SOURCES = $(vhost_sources)
lib_vhost_libvhost_a_CPPFLAGS = $(VHOST_CPPFLAGS)
lib_vhost_libvhost_a_CFLAGS = $(VHOST_CFLAGS)

# ovs-vswitchd is not built with sanitizers and cannot load a plugin that is, so
# with them unit tests get a library of their own.
if SANITIZE
check_LIBRARIES += lib/vhost/libvhost-check.a
lib_vhost_libvhost_check_a_SOURCES = $(vhost_sources)
lib_vhost_libvhost_check_a_CPPFLAGS = $(VHOST_CPPFLAGS)
lib_vhost_libvhost_check_a_CFLAGS = $(VHOST_CFLAGS) $(SANITIZE_CFLAGS)
VHOST_CHECK_LIB = lib/vhost/libvhost-check.a
else
VHOST_CHECK_LIB = lib/vhost/libvhost.a
endif
