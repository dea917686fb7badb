# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Many guests on one switch: the scenarios of tests/east-west.py."""
