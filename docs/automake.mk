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
	docs/architecture.md \
	docs/cycles.svg \
	docs/install.md \
	docs/interruptions.md \
	docs/monitoring.md \
	docs/moving.md \
	docs/performance.md \
	docs/ratios.svg \
	docs/reference.md \
	docs/troubleshooting.md \
	docs/upgrade.md

EXTRA_DIST += \
	$(doc_DATA) \
	$(docs_DATA) \
	docs/testing.md
