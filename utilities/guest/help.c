/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The text of --help.  The man page says more. */

#include <stdio.h>

#include "guest/options.h"

void
usage(void)
{
    fputs("\
usage: ovs-vhost-guest [OPTION...] MODE:SOCKET[,PORT-OPTION...]...\n\
\n\
Emulates guests at vhost-user ports: front ends and virtio-net drivers,\n\
without a VM.  Traffic begins when all ports are up.\n\
\n\
Modes:\n\
  generate       sends numbered test frames\n\
  sink           receives and verifies them\n\
  generate+sink  both, for a peer that sends them back\n\
  echo           sends back what arrives; answers ARP and ping\n\
  bridge         connects a tap device (tap=NAME)\n\
  replay         sends the frames of a pcap file (file=FILE)\n\
  capture        writes what arrives to a pcap file (capture=FILE)\n\
  discard        receives and does not look\n\
  misbehave      breaks rules (misbehave=NAME+NAME...)\n\
\n\
Port options, behind a port or, with --, for all ports:\n\
  server | client         listen at SOCKET, or connect to it (default)\n\
  no-reconnect            the first end of a connection is the last\n\
  old-base                packed rings come back where they last began\n\
  +FEATURE -FEATURE       negotiate or not (--features +A,-B for all ports);\n\
                          +packed and +in_order choose another ring format\n\
  queues=N ring=N         queue pairs, ring size\n\
  regions=N hugepages=DIR memory regions; on a hugetlbfs instead of memfd\n\
  hugetlb                 memfd of huge pages\n\
  buf=BYTES               receive buffers\n\
  descs=N rx-descs=N      descriptors for a frame\n\
  indirect                indirect descriptors for sending\n\
  mac=MAC ip=IP           own addresses\n\
  dst-mac=MAC dst-ip=IP   where test frames go\n\
  size=N|N-M|imix|N:W+... frame sizes without FCS; weights behind colons\n\
  flows=N                 source addresses and ports\n\
  rate=N[k|M]             frames per second (default: what goes)\n\
  count=N                 frames to send; of a sink: frames to wait for\n\
  burst=N                 frames at once\n\
  prepared                offer the same frames again and again\n\
  restart=MS              stop and start the rings so often\n\
  cut=MS                  hang up in the middle of a message so often\n\
  hotplug=MS              plug in, or take out, more memory so often\n\
  tap=NAME netns=FILE     tap device of a bridge, namespace for it\n\
  file=FILE loop=N        file to replay; how often, 0: for ever\n\
  capture=FILE snaplen=N  write what arrives to a file, in any mode\n\
\n\
Options of the run:\n\
  --duration SECONDS      end after this time\n\
  --poll                  poll devices instead of waiting for calls\n\
  --threads N --cpus LIST threads that move frames, and where\n\
  --connect-timeout S     give up if a port is not up by then (10, 0: never)\n\
  --settle S              wait before traffic begins (0.3)\n\
  --drain S               wait for stragglers (0.5)\n\
  --progress S            a line on stderr so often; 0: never\n\
  --json                  print the result as JSON\n\
  --no-latency            no time stamps\n\
  --expect-loss N[%]  --expect-received N  --expect-reordered N\n\
  --expect-duplicates N  --expect-corrupt N  --expect-rate N\n\
  --expect-p99 MICROSECONDS\n\
                          exit status 1 if it is otherwise\n\
  --misbehave NAME[,NAME...]\n\
                          what ports without MODE: and of mode misbehave do\n\
  --misbehave list, --features list\n\
                          print the names\n\
  --quiet --verbose --help\n\
", stdout);
}
