/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A station of a network under test, the same in a guest and in a container:
 *
 *     station serve               echoes what comes to port 5000, by TCP or UDP
 *     station ping ADDRESS...     pings
 *     station try ADDRESS...      pings, 300 kB by TCP and 16 datagrams by UDP
 *
 * Every byte that comes back is compared.  "try" and "ping" print a line for
 * each address; the exit status is 1 if one does not answer, or not what it
 * was sent.  Where a packet may get lost it is sent again for some time.
 * IPv4 only. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT 5000
#define PATIENCE 30             /* Seconds. */
#define TCP_BYTES 300000
#define DATAGRAMS 16
#define LARGEST 4000            /* Two fragments and a bit. */

static double
now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void
die(const char *what)
{
    perror(what);
    exit(1);
}

static struct sockaddr_in
address_of(const char *text, int port)
{
    struct sockaddr_in sin = { .sin_family = AF_INET,
                               .sin_port = htons(port) };

    if (inet_pton(AF_INET, text, &sin.sin_addr) != 1) {
        fprintf(stderr, "%s is no address\n", text);
        exit(2);
    }
    return sin;
}

/* Not the same in any two calls, or processes. */
static void
fill(uint8_t *data, size_t n)
{
    static uint64_t x;

    if (!x) {
        x = ((uint64_t) getpid() << 32) ^ (uint64_t) (now() * 1e9) ^ 88172645;
    }
    for (size_t i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        data[i] = x >> 24;
    }
}

/* Serving. */

static void *
echo_tcp(void *fd_)
{
    int fd = (intptr_t) fd_;
    char data[16384];
    ssize_t n;

    while ((n = read(fd, data, sizeof data)) > 0) {
        for (ssize_t at = 0, sent; at < n; at += sent) {
            sent = write(fd, data + at, n - at);
            if (sent <= 0) {
                close(fd);
                return NULL;
            }
        }
    }
    close(fd);
    return NULL;
}

static void *
accept_tcp(void *fd_)
{
    for (;;) {
        int fd = accept((intptr_t) fd_, NULL, NULL);
        pthread_t thread;

        if (fd >= 0
            && pthread_create(&thread, NULL, echo_tcp,
                              (void *) (intptr_t) fd)) {
            close(fd);
        } else if (fd >= 0) {
            pthread_detach(thread);
        }
    }
    return NULL;
}

static int
bound(int type)
{
    struct sockaddr_in sin = address_of("0.0.0.0", PORT);
    int fd = socket(AF_INET, type, 0), on = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *) &sin, sizeof sin)) {
        die("bind");
    }
    return fd;
}

static void
serve(void)
{
    int tcp = bound(SOCK_STREAM), udp = bound(SOCK_DGRAM);
    static char data[65536];
    pthread_t thread;

    if (listen(tcp, 100)
        || pthread_create(&thread, NULL, accept_tcp, (void *) (intptr_t) tcp)) {
        die("listen");
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct sockaddr_in peer;
        socklen_t len = sizeof peer;
        ssize_t n = recvfrom(udp, data, sizeof data, 0,
                             (struct sockaddr *) &peer, &len);

        if (n >= 0) {
            sendto(udp, data, n, 0, (struct sockaddr *) &peer, len);
        }
    }
}

/* Trying.  Functions return NULL or what is wrong. */

static bool
readable(int fd, int ms)
{
    struct pollfd pfd = { .fd = fd, .events = POLLIN };

    return poll(&pfd, 1, ms) > 0;
}

static uint16_t
checksum(const void *data, size_t n)
{
    const uint16_t *words = data;
    uint32_t sum = 0;

    for (size_t i = 0; i < n / 2; i++) {
        sum += words[i];
    }
    sum = (sum >> 16) + (sum & 0xffff);
    return ~(sum + (sum >> 16));
}

static const char *
await_reply(int fd, const void *request, size_t n)
{
    static uint8_t data[65536];

    while (readable(fd, 200)) {
        const struct icmphdr *asked = request, *icmp;
        ssize_t got = recv(fd, data, sizeof data, 0);
        size_t hlen = (data[0] & 15) * 4;

        if (got < (ssize_t) (hlen + sizeof *icmp)) {
            continue;
        }
        icmp = (const void *) (data + hlen);
        if (icmp->type != ICMP_ECHOREPLY
            || icmp->un.echo.id != asked->un.echo.id
            || icmp->un.echo.sequence != asked->un.echo.sequence) {
            continue;
        }
        return got - hlen == n
               && !memcmp(icmp + 1, asked + 1, n - sizeof *icmp)
               ? NULL : "DAMAGED";
    }
    return "no answer";
}

static const char *
ping_address(const char *address)
{
    struct sockaddr_in sin = address_of(address, 0);
    struct {
        struct icmphdr header;
        uint8_t data[1000];
    } request;
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    const char *error;
    double end = now() + PATIENCE;
    uint16_t sequence = 0;

    if (fd < 0 || connect(fd, (struct sockaddr *) &sin, sizeof sin)) {
        return strerror(errno);
    }
    do {
        memset(&request.header, 0, sizeof request.header);
        request.header.type = ICMP_ECHO;
        request.header.un.echo.id = htons(getpid());
        request.header.un.echo.sequence = htons(++sequence);
        fill(request.data, sizeof request.data);
        request.header.checksum = checksum(&request, sizeof request);
        (void) !send(fd, &request, sizeof request, 0);
        error = await_reply(fd, &request, sizeof request);
    } while (error && strcmp(error, "DAMAGED") && now() < end);
    close(fd);
    return error;
}

static const char *
exchange_tcp(int fd, const uint8_t *data)
{
    size_t sent = 0, got = 0;

    while (got < TCP_BYTES) {
        struct pollfd pfd = { .fd = fd, .events = POLLIN };
        uint8_t back[16384];
        ssize_t n;

        pfd.events |= sent < TCP_BYTES ? POLLOUT : 0;
        if (poll(&pfd, 1, PATIENCE * 1000) <= 0) {
            return "no progress";
        }
        if (pfd.revents & POLLOUT) {
            n = send(fd, data + sent, TCP_BYTES - sent, MSG_DONTWAIT);
            if (n < 0 && errno != EAGAIN) {
                return strerror(errno);
            }
            sent += n > 0 ? n : 0;
        }
        if (pfd.revents & (POLLIN | POLLERR | POLLHUP)) {
            n = recv(fd, back, sizeof back, 0);
            if (n <= 0) {
                return n ? strerror(errno) : "closed";
            }
            if (got + n > TCP_BYTES || memcmp(back, data + got, n)) {
                return "DAMAGED";
            }
            got += n;
        }
    }
    return NULL;
}

static const char *
try_tcp(const char *address)
{
    static uint8_t data[TCP_BYTES];
    struct sockaddr_in sin = address_of(address, PORT);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    const char *error;

    fill(data, sizeof data);
    if (connect(fd, (struct sockaddr *) &sin, sizeof sin)) {
        return strerror(errno);
    }
    error = exchange_tcp(fd, data);
    close(fd);
    return error;
}

/* What comes back is this datagram, or an earlier one again. */
static const char *
await_datagram(int fd, const uint8_t *data, ssize_t n, int number)
{
    static uint8_t back[65536];

    while (readable(fd, 300)) {
        ssize_t got = recv(fd, back, sizeof back, 0);

        if (got == n && !memcmp(back, data, n)) {
            return NULL;
        }
        if (got < 1 || back[0] >= number) {
            return got < 0 ? strerror(errno) : "DAMAGED";
        }
    }
    return "no answer";
}

static const char *
try_udp(const char *address)
{
    struct sockaddr_in sin = address_of(address, PORT);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    double end = now() + PATIENCE;
    const char *error = NULL;
    uint8_t data[LARGEST];

    if (connect(fd, (struct sockaddr *) &sin, sizeof sin)) {
        return strerror(errno);
    }
    for (int i = 0; i < DATAGRAMS && !error; i++) {
        int sizes[] = { 1 + i, 1472 - i / 4, 1000 + i, LARGEST - i };
        int n = sizes[i % 4];

        fill(data, n);
        data[0] = i;
        do {
            (void) !send(fd, data, n, 0);
            error = await_datagram(fd, data, n, i);
        } while (error && strcmp(error, "DAMAGED") && now() < end);
    }
    close(fd);
    return error;
}

static bool
say(const char *what, const char *address, const char *error)
{
    printf("%s %s %s\n", what, address, error ? error : "ok");
    fflush(stdout);
    return !error;
}

int
main(int argc, char *argv[])
{
    bool all = argc > 2 && !strcmp(argv[1], "try"), ok = true;

    signal(SIGPIPE, SIG_IGN);
    if (argc == 2 && !strcmp(argv[1], "serve")) {
        serve();
    } else if (!all && (argc < 3 || strcmp(argv[1], "ping"))) {
        fputs("usage: station serve | ping ADDRESS... | try ADDRESS...\n",
              stderr);
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        bool up = say("ping", argv[i], ping_address(argv[i]));

        ok &= up;
        if (up && all) {
            ok &= say("tcp", argv[i], try_tcp(argv[i]));
            ok &= say("udp", argv[i], try_udp(argv[i]));
        }
    }
    return !ok;
}
