/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Files of frames in libpcap's format (not pcapng), Ethernet only. */

#ifndef GUEST_PCAP_H
#define GUEST_PCAP_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pcap_file;

/* Both end the program if they cannot. */
struct pcap_file *pcap_create(const char *name, uint32_t snaplen);
struct pcap_file *pcap_open(const char *name);
void pcap_close(struct pcap_file *);

/* Appends a frame, with the time of day. */
void pcap_write(struct pcap_file *, const uint8_t *frame, size_t len);

/* Reads the next frame into 'frame', which has room for 'max'.  '*ns' gets its
 * time.  Returns its length, 0 at the end.  Ends the program if the file is
 * broken. */
size_t pcap_read(struct pcap_file *, uint8_t *frame, size_t max,
                 uint64_t *ns);
void pcap_rewind(struct pcap_file *);

#endif /* guest/pcap.h */
