# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Measures this project's ports against the stock ones.

utilities/ovs-vhost-bench runs it; it stands on ovs_vhost_lab.  A case (see
cases.py) is an object with a name that knows how to prepare a side and what to
measure; bench.py gives it both sides in turn, windows.py compares what came
out, results.py, chart.py and main.py tell the reader.
"""
