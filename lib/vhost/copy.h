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
#define COPY_LIBRARY 1024
#endif

#if defined __AVX512BW__

static inline void
copy_piece(uint8_t *dst, const uint8_t *src, uint32_t len)
{
    uint32_t done = 0;
    __mmask64 mask;

    if (len > COPY_LIBRARY) {
        memcpy(dst, src, len);
        return;
    }
    for (; len - done > 64; done += 64) {
        _mm512_storeu_si512(dst + done, _mm512_loadu_si512(src + done));
    }
    mask = _bzhi_u64(UINT64_MAX, len - done);
    _mm512_mask_storeu_epi8(dst + done, mask,
                            _mm512_maskz_loadu_epi8(mask, src + done));
}

#else

/* 'N' bytes, a constant: the compiler makes loads and stores of it. */
#define COPY(N) memcpy(dst, src, N)
#define COPY_END(N) memcpy(dst + len - (N), src + len - (N), N)

/* Lengths up to 32.  The two parts overlap. */
static inline void
copy_short(uint8_t *dst, const uint8_t *src, uint32_t len)
{
    if (len >= 16) {
        COPY(16);
        COPY_END(16);
    } else if (len >= 8) {
        COPY(8);
        COPY_END(8);
    } else if (len >= 4) {
        COPY(4);
        COPY_END(4);
    } else if (len >= 2) {
        COPY(2);
        COPY_END(2);
    } else if (len) {
        *dst = *src;
    }
}

static inline void
copy_piece(uint8_t *dst, const uint8_t *src, uint32_t len)
{
    if (len > COPY_LIBRARY) {
        memcpy(dst, src, len);
    } else if (len <= 32) {
        copy_short(dst, src, len);
    } else {
        for (; len > 64; len -= 64, dst += 64, src += 64) {
            COPY(32);
            memcpy(dst + 32, src + 32, 32);
        }
        if (len > 32) {
            COPY(32);
            COPY_END(32);
        } else {
            /* There are 32 bytes before. */
            COPY_END(32);
        }
    }
}

#undef COPY
#undef COPY_END

#endif

static void
copy_read(const struct vhost_burst *b, void *const dst[], unsigned int n)
{
    for (unsigned int i = 0; b->simple && i < n; i++) {
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
