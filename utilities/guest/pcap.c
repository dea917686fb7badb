/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Files of frames: see pcap.h. */

#include "guest/pcap.h"

#include <byteswap.h>
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guest/catch.h"

#define MAGIC_US 0xa1b2c3d4u
#define MAGIC_NS 0xa1b23c4du
#define ETHERNET 1u

struct file_header {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t zone, accuracy;
    uint32_t snaplen;
    uint32_t link_type;
};

struct frame_header {
    uint32_t sec, fraction;
    uint32_t len;               /* In the file. */
    uint32_t full_len;
};

struct pcap_file {
    FILE *stream;
    char *name;
    uint32_t snaplen;
    bool swapped;
    bool ns;
};

static struct pcap_file *
new_file(const char *name, const char *mode)
{
    struct pcap_file *f = calloc(1, sizeof *f);

    f->name = strdup(name);
    f->stream = fopen(name, mode);
    if (!f->stream) {
        errx(EXIT_CANNOT, "%s: %s", name, strerror(errno));
    }
    return f;
}

struct pcap_file *
pcap_create(const char *name, uint32_t snaplen)
{
    struct pcap_file *f = new_file(name, "we");
    struct file_header h = {
        .magic = MAGIC_NS, .major = 2, .minor = 4, .snaplen = snaplen,
        .link_type = ETHERNET,
    };

    f->snaplen = snaplen;
    fwrite(&h, sizeof h, 1, f->stream);
    return f;
}

void
pcap_write(struct pcap_file *f, const uint8_t *frame, size_t len)
{
    struct frame_header h;
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    h.sec = ts.tv_sec;
    h.fraction = ts.tv_nsec;
    h.full_len = len;
    h.len = len < f->snaplen ? len : f->snaplen;
    fwrite(&h, sizeof h, 1, f->stream);
    fwrite(frame, 1, h.len, f->stream);
}

void
pcap_close(struct pcap_file *f)
{
    bool bad = ferror(f->stream) != 0;

    if (fclose(f->stream) || bad) {
        errx(EXIT_CANNOT, "%s: cannot write all of it", f->name);
    }
    free(f->name);
    free(f);
}

static uint32_t
number(const struct pcap_file *f, uint32_t x)
{
    return f->swapped ? bswap_32(x) : x;
}

struct pcap_file *
pcap_open(const char *name)
{
    struct pcap_file *f = new_file(name, "re");
    struct file_header h;

    if (fread(&h, sizeof h, 1, f->stream) != 1) {
        errx(EXIT_CANNOT, "%s: no pcap file", name);
    }
    f->swapped = h.magic == bswap_32(MAGIC_US)
                 || h.magic == bswap_32(MAGIC_NS);
    f->ns = number(f, h.magic) == MAGIC_NS;
    if (!f->ns && number(f, h.magic) != MAGIC_US) {
        errx(EXIT_CANNOT, "%s: no pcap file (pcapng cannot be read)", name);
    }
    if ((number(f, h.link_type) & 0xffff) != ETHERNET) {
        errx(EXIT_CANNOT, "%s: not of Ethernet", name);
    }
    return f;
}

size_t
pcap_read(struct pcap_file *f, uint8_t *frame, size_t max, uint64_t *ns)
{
    struct frame_header h;
    uint32_t len;

    if (fread(&h, sizeof h, 1, f->stream) != 1) {
        return 0;
    }
    len = number(f, h.len);
    if (!len || len > max || fread(frame, 1, len, f->stream) != len) {
        errx(EXIT_CANNOT, "%s: broken, or a frame of more than %zu bytes",
             f->name, max);
    }
    *ns = number(f, h.sec) * UINT64_C(1000000000)
          + number(f, h.fraction) * (f->ns ? UINT64_C(1) : UINT64_C(1000));
    return len;
}

void
pcap_rewind(struct pcap_file *f)
{
    fseek(f->stream, sizeof (struct file_header), SEEK_SET);
    clearerr(f->stream);
}
