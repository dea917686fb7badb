/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Names of the feature bits that a user may switch, and a user's wishes about
 * them. */

#ifndef GUEST_FEATURES_H
#define GUEST_FEATURES_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of one set of bits: accept what is offered of 'wanted'; it is an error if
 * something of 'required' is not.  The user said no to 'refused'. */
struct wish {
    uint64_t wanted;
    uint64_t required;
    uint64_t refused;
};

/* Applies "+NAME", "-NAME" or a mask, "0x...".  A name that begins with
 * "proto_" is a protocol feature's.  "+bit40" and "+proto_bit7" name any bit.
 * Returns false if 'text' is none of this. */
bool wish_parse(const char *text, struct wish *features,
                struct wish *protocol);

/* Writes the names of the bits of 'mask', separated by blanks. */
void features_format(uint64_t mask, bool protocol, char *, size_t);

/* Prints all names. */
void features_list(void);

#endif /* guest/features.h */
