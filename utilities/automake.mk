# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
#
# Programs and scripts that a person runs from the source tree.

# The vhost-user front end and virtqueue driver of unit tests and of
# ovs-vhost-guest.
noinst_LIBRARIES += utilities/guest/libguest.a
utilities_guest_libguest_a_SOURCES = \
	utilities/guest/fail.h \
	utilities/guest/frontend.h \
	utilities/guest/memory.c \
	utilities/guest/net.c \
	utilities/guest/net.h \
	utilities/guest/protocol.c \
	utilities/guest/vq-split.c \
	utilities/guest/vq.c \
	utilities/guest/vq.h

EXTRA_DIST += \
	utilities/ovs-vhost-check \
	utilities/ovs-vhost-demo \
	utilities/ovs-vhost-lib.sh \
	utilities/ovs_vhost_lab/__init__.py \
	utilities/ovs_vhost_lab/build.py \
	utilities/ovs_vhost_lab/demo.py \
	utilities/ovs_vhost_lab/guest.py \
	utilities/ovs_vhost_lab/image.py \
	utilities/ovs_vhost_lab/instance.py \
	utilities/ovs_vhost_lab/netns.py \
	utilities/ovs_vhost_lab/process.py \
	utilities/ovs_vhost_lab/switch.py
