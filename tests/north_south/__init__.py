# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Guests and physical NICs on one switch, in a machine of QEMU."""
