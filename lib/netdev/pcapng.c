/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Blocks of a pcapng file: see pcapng.h.  Section numbers are those of
 * draft-ietf-opsawg-pcapng.
 */

#include "pcapng.h"

#include <string.h>

/* Block types (4.1 to 4.3, 4.6). */
enum {
    SECTION_HEADER = 0x0a0d0d0a,
    INTERFACE_DESCRIPTION = 1,
    INTERFACE_STATISTICS = 5,
    ENHANCED_PACKET = 6,
};

/* Option types (3.5, 4.1 to 4.3, 4.6). */
enum {
    OPT_END = 0,
    OPT_COMMENT = 1,
    SHB_USERAPPL = 4,
    IF_NAME = 2,
    IF_DESCRIPTION = 3,
    IF_TSRESOL = 9,
    EPB_FLAGS = 2,
    EPB_DROPCOUNT = 4,
    EPB_QUEUE = 6,
    ISB_STARTTIME = 2,
    ISB_ENDTIME = 3,
    ISB_IFRECV = 4,
    ISB_IFDROP = 5,
    ISB_USRDELIV = 8,
};

#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define LINKTYPE_ETHERNET 1
#define NANOSECONDS 9           /* Of if_tsresol. */

/* A block that is being made. */
struct block {
    uint8_t *buf;
    size_t max;
    size_t n;
    bool full;                  /* Something did not fit. */
};

static void
put(struct block *b, const void *data, size_t n)
{
    if (b->max - b->n < n) {
        b->full = true;
        return;
    }
    if (n) {
        memcpy(b->buf + b->n, data, n);
        b->n += n;
    }
}

/* The same, padded to a multiple of 4. */
static void
put_padded(struct block *b, const void *data, size_t n)
{
    static const uint8_t zeros[3];

    put(b, data, n);
    put(b, zeros, -n & 3);
}

static void
put_u16(struct block *b, uint16_t x)
{
    put(b, &x, sizeof x);
}

static void
put_u32(struct block *b, uint32_t x)
{
    put(b, &x, sizeof x);
}

/* Times are two words, the upper one first. */
static void
put_time(struct block *b, uint64_t ns)
{
    put_u32(b, ns >> 32);
    put_u32(b, ns);
}

static void
put_option(struct block *b, uint16_t type, const void *data, uint16_t n)
{
    put_u16(b, type);
    put_u16(b, n);
    put_padded(b, data, n);
}

static void
put_text_option(struct block *b, uint16_t type, const char *s)
{
    if (s) {
        size_t n = strlen(s);

        put_option(b, type, s,
                   n <= PCAPNG_MAX_COMMENT ? n : PCAPNG_MAX_COMMENT);
    }
}

static void
put_u64_option(struct block *b, uint16_t type, uint64_t x)
{
    put_option(b, type, &x, sizeof x);
}

static void
put_time_option(struct block *b, uint16_t type, uint64_t ns)
{
    uint32_t words[2] = { ns >> 32, ns };

    put_option(b, type, words, sizeof words);
}

static struct block
begin(uint8_t *buf, size_t max, uint32_t type)
{
    struct block b = { .buf = buf, .max = max };

    put_u32(&b, type);
    put_u32(&b, 0);             /* The length, see end(). */
    return b;
}

/* Ends the options and the block. */
static size_t
end(struct block *b)
{
    uint32_t len;

    put_option(b, OPT_END, NULL, 0);
    len = b->n + sizeof len;
    put_u32(b, len);
    if (b->full) {
        return 0;
    }
    memcpy(b->buf + 4, &len, sizeof len);
    return len;
}

static size_t
put_section_header(uint8_t *buf, size_t max, const char *application)
{
    static const uint64_t unknown_length = UINT64_MAX;
    struct block b = begin(buf, max, SECTION_HEADER);

    put_u32(&b, BYTE_ORDER_MAGIC);
    put_u16(&b, 1);             /* Version 1.0. */
    put_u16(&b, 0);
    put(&b, &unknown_length, sizeof unknown_length);
    put_text_option(&b, SHB_USERAPPL, application);
    return end(&b);
}

size_t
pcapng_put_header(uint8_t *buf, size_t max, const char *application,
                  const char *interface, const char *description,
                  uint32_t snaplen)
{
    static const uint8_t resolution = NANOSECONDS;
    size_t n = put_section_header(buf, max, application);
    struct block b = begin(buf + n, max - n, INTERFACE_DESCRIPTION);
    size_t m;

    put_u16(&b, LINKTYPE_ETHERNET);
    put_u16(&b, 0);
    put_u32(&b, snaplen);
    put_text_option(&b, IF_NAME, interface);
    put_text_option(&b, IF_DESCRIPTION, description);
    put_option(&b, IF_TSRESOL, &resolution, sizeof resolution);
    m = end(&b);
    return n && m ? n + m : 0;
}

size_t
pcapng_put_packet(uint8_t *buf, size_t max, const struct pcapng_packet *p)
{
    struct block b = begin(buf, max, ENHANCED_PACKET);

    put_u32(&b, 0);             /* The interface. */
    put_time(&b, p->ns);
    put_u32(&b, p->data_len);
    put_u32(&b, p->len);
    put_padded(&b, p->data, p->data_len);
    put_text_option(&b, OPT_COMMENT, p->comment);
    put_option(&b, EPB_FLAGS, &p->flags, sizeof p->flags);
    if (p->n_lost) {
        put_u64_option(&b, EPB_DROPCOUNT, p->n_lost);
    }
    if (p->queue >= 0) {
        uint32_t queue = p->queue;

        put_option(&b, EPB_QUEUE, &queue, sizeof queue);
    }
    return end(&b);
}

size_t
pcapng_put_statistics(uint8_t *buf, size_t max,
                      const struct pcapng_statistics *s)
{
    struct block b = begin(buf, max, INTERFACE_STATISTICS);

    put_u32(&b, 0);             /* The interface. */
    put_time(&b, s->end_ns);
    put_text_option(&b, OPT_COMMENT, s->comment);
    put_time_option(&b, ISB_STARTTIME, s->start_ns);
    put_time_option(&b, ISB_ENDTIME, s->end_ns);
    put_u64_option(&b, ISB_IFRECV, s->n_packets);
    put_u64_option(&b, ISB_IFDROP, s->n_lost);
    put_u64_option(&b, ISB_USRDELIV, s->n_packets - s->n_lost);
    return end(&b);
}
