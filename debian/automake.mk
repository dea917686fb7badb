# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
#
# The Debian package.  "make deb" builds it in _deb/; how the switch is
# configured for it does not depend on how this build is.

EXTRA_DIST += \
	debian/changelog \
	debian/control \
	debian/copyright \
	debian/ovs-vhost.postinst \
	debian/ovs-vhost.postrm \
	debian/ovs-vhost.prerm \
	debian/rules \
	debian/source/format

PHONY += deb
deb: distdir
	'$(top_srcdir)/utilities/ovs-vhost-deb' --source '$(distdir)' \
		--build-dir _deb
	rm -rf '$(distdir)'
DISTCLEAN_LOCAL += distclean-deb
distclean-deb:
	rm -rf _deb
