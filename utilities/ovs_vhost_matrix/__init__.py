# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Every way to give a guest a NIC, on one Open vSwitch, in one table."""
