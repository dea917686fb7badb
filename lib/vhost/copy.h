/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The copy loops of a burst, for copy.c (any CPU), copy-avx2.c and
 * copy-avx512.c, which include this file with another instruction set switched
 * on and COPY_NAME defined.  Frames are short, mostly: what counts is that
 * there is no call, and no branch that is hard to predict, for a frame of any
 * length up to some hundred bytes.  Long ones are left to the C library, which
 * has variants of its own.
 */

#include <string.h>

#include "ring.h"
#include "vring.h"

#if defined __AVX512BW__ || defined __AVX2__
#include <immintrin.h>
#endif

/* Pieces longer than this many bytes are the C library's. */
#ifndef COPY_LIBRARY
#define COPY_LIBRARY 2048
#endif

/* Pieces of this length are fetched while the one before is copied. */
#define COPY_AHEAD 768

/* Moves of a vector's length.  No masked ones: what they store cannot be
 * forwarded to a load, and the switch reads the headers right after. */
#if defined __AVX512BW__
#define COPY64(DST, SRC) \
    _mm512_storeu_si512((DST), _mm512_loadu_si512(SRC))
#define COPY32(DST, SRC) \
    _mm256_storeu_si256((__m256i *) (DST), \
                        _mm256_loadu_si256((const __m256i *) (SRC)))
#elif defined __AVX2__
#define COPY32(DST, SRC) \
    _mm256_storeu_si256((__m256i *) (DST), \
                        _mm256_loadu_si256((const __m256i *) (SRC)))
#define COPY64(DST, SRC) \
    (COPY32(DST, SRC), COPY32((DST) + 32, (SRC) + 32))
#else
#define COPY32(DST, SRC) memcpy(DST, SRC, 32)
#define COPY64(DST, SRC) (COPY32(DST, SRC), COPY32((DST) + 32, (SRC) + 32))
#endif

/* Up to 31 bytes.  'N' bytes, a constant, from both ends: they overlap. */
#define COPY_ENDS(N) \
    (memcpy(dst, src, N), memcpy(dst + len - (N), src + len - (N), N))

static inline void
copy_short(uint8_t *dst, const uint8_t *src, uint32_t len)
{
    if (len >= 16) {
        COPY_ENDS(16);
    } else if (len >= 8) {
        COPY_ENDS(8);
    } else if (len >= 4) {
        COPY_ENDS(4);
    } else if (len >= 2) {
        COPY_ENDS(2);
    } else if (len) {
        *dst = *src;
    }
}

static inline void
copy_piece(uint8_t *dst, const uint8_t *src, uint32_t len)
{
    if (len > COPY_LIBRARY) {
        memcpy(dst, src, len);
    } else if (len >= 64) {
        uint32_t end = len - 64;

        for (uint32_t i = 0; i < end; i += 64) {
            COPY64(dst + i, src + i);
        }
        COPY64(dst + end, src + end);
    } else if (len >= 32) {
        COPY32(dst, src);
        COPY32(dst + len - 32, src + len - 32);
    } else {
        copy_short(dst, src, len);
    }
}

/* Has the rest of a long piece fetched, whose start has been fetched before:
 * in real life it is in another CPU's cache. */
static inline void
copy_ahead(const struct vhost_seg *s, bool write)
{
    if (s->len < COPY_AHEAD) {
        return;
    }
    for (uint32_t k = 128; k < s->len; k += 64) {
        if (write) {
            prefetch_write(s->addr + k);
        } else {
            __builtin_prefetch(s->addr + k);
        }
    }
}

static void
copy_read(const struct vhost_burst *b, void *const dst[], unsigned int n)
{
    for (unsigned int i = 0; b->simple && i < n; i++) {
        if (i + 1 < n) {
            copy_ahead(&b->segs[i + 1], false);
        }
        copy_piece(dst[i], b->segs[i].addr, b->segs[i].len);
    }
    for (unsigned int i = 0; !b->simple && i < n; i++) {
        const struct vhost_pkt *p = &b->pkts[i];
        const struct vhost_seg *s = &b->segs[p->first];
        uint8_t *d = dst[i];

        for (unsigned int k = 0; k < p->n_segs; k++) {
            copy_piece(d, s[k].addr, s[k].len);
            d += s[k].len;
        }
    }
}

/* Frames of one piece with headers of zeros, but for num_buffers. */
static inline void
copy_write_simple(const struct vhost_burst *b, const void *const src[],
                  unsigned int n)
{
    const bool has_num_buffers = b->vr->hdr_len == 12;
    const unsigned int hdr_len = b->vr->hdr_len;
    const struct virtio_net_hdr_v1 hdr = { .num_buffers = 1 };

    for (unsigned int i = 0; i < n; i++) {
        uint8_t *frame = b->segs[i].addr;

        if (i + 1 < n) {
            copy_ahead(&b->segs[i + 1], true);
        }
        if (__builtin_expect(has_num_buffers, 1)) {
            memcpy(frame - 12, &hdr, 12);
        } else {
            memcpy(frame - hdr_len, &hdr, sizeof(struct virtio_net_hdr));
        }
        copy_piece(frame, src[i], b->segs[i].len);
    }
}

static void
copy_write(struct vhost_burst *b, const void *const src[], unsigned int n)
{
    b->n_headers = n;
    if (__builtin_expect(b->simple, 1)) {
        copy_write_simple(b, src, n);
        return;
    }
    for (unsigned int i = 0; i < n; i++) {
        const struct vhost_pkt *p = &b->pkts[i];
        const struct vhost_seg *s = &b->segs[p->first];
        const uint8_t *d = src[i];

        vring_write_header(b->vr, b, p);
        for (unsigned int k = 0; k < p->n_segs; k++) {
            copy_piece(s[k].addr, d, s[k].len);
            d += s[k].len;
        }
    }
}

const struct vhost_copy COPY_VARIANT = { COPY_NAME, copy_read, copy_write };
