/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A shared object that is no plugin.  Its constructor must never run: nobody
 * expects that a file of the wrong kind does something. */

#include <stdlib.h>

__attribute__((constructor)) static void
no_descriptor_constructor(void)
{
    abort();
}
