# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""The list of cases."""

from . import emulated, machines

CASES = emulated.CASES + machines.CASES
