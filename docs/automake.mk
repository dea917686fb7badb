# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
#
# Documentation.  "make install" installs what an operator reads.

doc_DATA = \
	LICENSE \
	NEWS \
	README.md

docsdir = $(docdir)/docs
docs_DATA = \
	docs/README.md \
	docs/architecture.md \
	docs/backends.md \
	docs/cycles.svg \
	docs/install.md \
	docs/interruptions.md \
	docs/matrix.svg \
	docs/monitoring.md \
	docs/moving.md \
	docs/nics.md \
	docs/packet.md \
	docs/performance.md \
	docs/ratios.svg \
	docs/reference.md \
	docs/scaling.md \
	docs/troubleshooting.md \
	docs/tutorial.md \
	docs/upgrade.md

howtodir = $(docdir)/docs/howto
howto_DATA = \
	docs/howto/README.md \
	docs/howto/bond.md \
	docs/howto/container.md \
	docs/howto/kubernetes.md \
	docs/howto/libvirt.md \
	docs/howto/openstack.md \
	docs/howto/ovn.md \
	docs/howto/qemu.md \
	docs/howto/vlan.md \
	docs/howto/vxlan.md

dist_man_MANS += docs/ovs-vhost.7

EXTRA_DIST += \
	$(doc_DATA) \
	$(docs_DATA) \
	$(howto_DATA) \
	docs/testing.md
