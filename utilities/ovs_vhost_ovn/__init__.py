# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""utilities/ovs-vhost-ovn: OVN over two hosts on one machine."""
