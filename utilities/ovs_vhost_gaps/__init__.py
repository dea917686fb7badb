# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What each interruption of a port costs, ours beside the stock one.

utilities/ovs-vhost-gaps runs it; it stands on ovs_vhost_lab.  A case (see
cases.py) interrupts a port under a load whose frames are numbered (load.py),
in a switch that differs between the two sides in the types of its ports only
(bed.py).  leftovers.py looks for what stays behind, table.py tells the reader.
"""
