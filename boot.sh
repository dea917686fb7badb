#! /bin/sh
#
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
#
# Creates configure and what it needs from configure.ac and Makefile.am.  Only
# needed in a checkout from version control: a tarball from "make dist" has the
# result.

cd "`dirname "$0"`" || exit 1
for tool in autoreconf automake; do
    if ! command -v $tool > /dev/null; then
        echo "boot.sh: $tool is missing: install autoconf and automake" >&2
        exit 1
    fi
done
exec autoreconf --install --force
