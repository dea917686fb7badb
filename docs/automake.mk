# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
#
# Documentation.

EXTRA_DIST += \
	docs/architecture.md
