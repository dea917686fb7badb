# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""What programs that know the stock port types by name say to Open vSwitch,
said again by tests/vhost-replay.py.  Each program has a function; the commands
and what is asked of the answers follow its sources of August 2026.  Nothing of
those sources is in here."""
