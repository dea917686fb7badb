# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What happens to a QEMU guest while it runs, at a port of any vhost-user
type: the scenarios of tests/qemu-life.py and what they share."""
