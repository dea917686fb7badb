/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Feature bits by name: see features.h. */

#include "guest/features.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct name {
    const char *name;
    unsigned int bit;
};

static const struct name virtio_names[] = {
    { "csum", 0 }, { "guest_csum", 1 }, { "ctrl_guest_offloads", 2 },
    { "mtu", 3 }, { "mac", 5 }, { "gso", 6 }, { "guest_tso4", 7 },
    { "guest_tso6", 8 }, { "guest_ecn", 9 }, { "guest_ufo", 10 },
    { "host_tso4", 11 }, { "host_tso6", 12 }, { "host_ecn", 13 },
    { "host_ufo", 14 }, { "mrg_rxbuf", 15 }, { "status", 16 },
    { "ctrl_vq", 17 }, { "ctrl_rx", 18 }, { "ctrl_vlan", 19 },
    { "guest_announce", 21 }, { "mq", 22 }, { "ctrl_mac_addr", 23 },
    { "notify_on_empty", 24 }, { "log_all", 26 }, { "any_layout", 27 },
    { "indirect_desc", 28 }, { "event_idx", 29 },
    { "protocol_features", 30 }, { "version_1", 32 },
    { "access_platform", 33 }, { "ring_packed", 34 }, { "in_order", 35 },
    { "order_platform", 36 }, { "sr_iov", 37 }, { "notification_data", 38 },
    { "ring_reset", 40 }, { "guest_uso4", 54 }, { "guest_uso6", 55 },
    { "host_uso", 56 }, { "hash_report", 57 }, { "guest_hdrlen", 59 },
    { "rss", 60 }, { "rsc_ext", 61 }, { "standby", 62 },
    { "speed_duplex", 63 },
    { "packed", 34 },           /* For short. */
    { NULL, 0 },
};

static const struct name protocol_names[] = {
    { "mq", 0 }, { "log_shmfd", 1 }, { "rarp", 2 }, { "reply_ack", 3 },
    { "net_mtu", 4 }, { "backend_req", 5 }, { "cross_endian", 6 },
    { "crypto_session", 7 }, { "pagefault", 8 }, { "config", 9 },
    { "backend_send_fd", 10 }, { "host_notifier", 11 },
    { "inflight_shmfd", 12 }, { "reset_device", 13 },
    { "inband_notifications", 14 }, { "configure_mem_slots", 15 },
    { "status", 16 }, { "xen_mmap", 17 }, { "shared_object", 18 },
    { "device_state", 19 }, { NULL, 0 },
};

static bool
same_name(const char *a, const char *b)
{
    while (*a && (*a == '-' ? '_' : tolower((unsigned char) *a)) == *b) {
        a++;
        b++;
    }
    return !*a && !*b;
}

static bool
find_bit(const char *name, const struct name *names, uint64_t *mask)
{
    unsigned int bit;
    char rest;

    if (sscanf(name, "bit%u%c", &bit, &rest) == 1 && bit < 64) {
        *mask = UINT64_C(1) << bit;
        return true;
    }
    for (; names->name; names++) {
        if (same_name(name, names->name)) {
            *mask = UINT64_C(1) << names->bit;
            return true;
        }
    }
    return false;
}

bool
wish_parse(const char *text, struct wish *features, struct wish *protocol)
{
    struct wish *w = features;
    const struct name *names = virtio_names;
    const char *name = text + 1;
    uint64_t mask;

    if (*text != '+' && *text != '-') {
        char *end;

        mask = strtoull(text, &end, 0);
        if (!isdigit((unsigned char) *text) || *end) {
            return false;
        }
        w->wanted = w->required = mask;
        w->refused = ~mask;
        return true;
    }
    if (!strncasecmp(name, "proto_", 6) || !strncasecmp(name, "proto-", 6)) {
        name += 6;
        w = protocol;
        names = protocol_names;
    }
    if (!find_bit(name, names, &mask)) {
        return false;
    }
    if (*text == '+') {
        w->wanted |= mask;
        w->required |= mask;
        w->refused &= ~mask;
    } else {
        w->wanted &= ~mask;
        w->required &= ~mask;
        w->refused |= mask;
    }
    return true;
}

void
features_format(uint64_t mask, bool protocol, char *s, size_t size)
{
    const struct name *names = protocol ? protocol_names : virtio_names;
    size_t used = 0;

    s[0] = '\0';
    for (unsigned int bit = 0; bit < 64; bit++) {
        const struct name *n = names;

        if (!(mask & UINT64_C(1) << bit)) {
            continue;
        }
        while (n->name && n->bit != bit) {
            n++;
        }
        used += n->name
                ? snprintf(s + used, size - used, "%s%s", used ? " " : "",
                           n->name)
                : snprintf(s + used, size - used, "%sbit%u", used ? " " : "",
                           bit);
        if (used >= size) {
            return;
        }
    }
}

void
features_list(void)
{
    for (const struct name *n = virtio_names; n->name; n++) {
        printf("%-24s bit %u\n", n->name, n->bit);
    }
    for (const struct name *n = protocol_names; n->name; n++) {
        printf("proto_%-18s protocol feature %u\n", n->name, n->bit);
    }
}
