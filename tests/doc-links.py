#! /usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
"""Checks that links from one document to another lead somewhere, headings
included, and that docs/README.md names each page in docs/, and that of
docs/howto/ those there.

    doc-links.py SRCDIR

Prints a line for each that does not; the exit status is 1 if there is any.
"""

import glob
import os
import re
import sys

PAGES = "README.md", "docs/*.md", "docs/howto/*.md", "tests/*.md", "tests/recordings/*.md"


def read(path):
    with open(path) as stream:
        return stream.read()


def anchors(text):
    """Returns the names of a page's headings as browsers know them."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)", text, re.M)}


def broken(path):
    """Yields the links of a page that lead nowhere."""
    text = read(path)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = link.partition("#")
        target = os.path.join(os.path.dirname(path), name) if name else path
        if "://" in link:
            continue
        if not os.path.exists(target) \
                or anchor and anchor not in anchors(read(target)):
            yield link


def main():
    os.chdir(sys.argv[1])
    pages = sorted(path for pattern in PAGES for path in glob.glob(pattern))
    lines = ["%s: %s leads nowhere" % (path, link)
             for path in pages for link in broken(path)]
    for index in glob.glob("docs/README.md") + glob.glob(
            "docs/howto/README.md"):
        text = read(index)
        lines += ["%s does not name %s" % (index, os.path.basename(path))
                  for path in sorted(glob.glob(os.path.dirname(index)
                                               + "/*.md"))
                  if "(%s)" % os.path.basename(path) not in text
                  and path != index]
    print("\n".join(lines), end="\n" if lines else "")
    return 1 if lines or not pages else 0


if __name__ == "__main__":
    sys.exit(main())
