/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * The unit tests' harness: see harness.h.  One child per case, so that a
 * crash, a hang or a mess in one leaves the others alone.
 */

#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest/fail.h"
#include "vhost.h"

#define USUAL_SECONDS 20
#define EXIT_SKIP 77
#define MAX_LINES 65536

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
const bool test_slow = true;
#else
const bool test_slow = false;
#endif

/* The running case, in its child. */
static struct {
    char dir[64];
    struct vhost_loop *loop;
    pthread_t event, worker;
} bed;

static bool verbose;
static uint64_t variant;
static char part[256];

/* What lib/vhost logged. */
static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    enum vhost_log_level level;
    char port[32];
    char *text;
} log_lines[MAX_LINES];
static unsigned int n_log_lines;

/* Between wait_begin() and wait_end() a thread does nothing that counts. */
static __thread bool waiting;

static void
wait_begin_cb(void)
{
    CHECK(!waiting);
    waiting = true;
}

static void
wait_end_cb(void)
{
    CHECK(waiting);
    waiting = false;
}

static void
log_cb(enum vhost_log_level level, const char *port, const char *format,
       va_list args)
{
    char text[1024];

    CHECK(!waiting);
    vsnprintf(text, sizeof text, format, args);
    pthread_mutex_lock(&log_mutex);
    if (verbose) {
        printf("#   log %c %s: %s\n", "EWID"[level], port ? port : "-", text);
        fflush(stdout);
    }
    if (n_log_lines < MAX_LINES) {
        log_lines[n_log_lines].level = level;
        snprintf(log_lines[n_log_lines].port, sizeof log_lines[0].port, "%s",
                 port ? port : "");
        log_lines[n_log_lines++].text = strdup(text);
    }
    pthread_mutex_unlock(&log_mutex);
}

bool
test_logged(const char *text)
{
    bool found = false;

    pthread_mutex_lock(&log_mutex);
    for (unsigned int i = 0; i < n_log_lines && !found; i++) {
        found = strcasestr(log_lines[i].text, text) != NULL;
    }
    pthread_mutex_unlock(&log_mutex);
    return found;
}

unsigned int
test_n_warnings(const char *port)
{
    unsigned int n = 0;

    pthread_mutex_lock(&log_mutex);
    for (unsigned int i = 0; i < n_log_lines; i++) {
        n += log_lines[i].level <= VHOST_LOG_WARN
             && !strcmp(log_lines[i].port, port);
    }
    pthread_mutex_unlock(&log_mutex);
    return n;
}

static void
log_free(void)
{
    for (unsigned int i = 0; i < n_log_lines; i++) {
        free(log_lines[i].text);
    }
    n_log_lines = 0;
}

uint64_t
test_variant(void)
{
    return variant;
}

bool
test_strcasestr(const char *s, const char *text)
{
    return strcasestr(s, text) != NULL;
}

void
test_part(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(part, sizeof part, format, args);
    va_end(args);
    if (verbose) {
        printf("#   part: %s\n", part);
        fflush(stdout);
    }
}

static void __attribute__((noreturn, format(printf, 3, 0)))
fail(const char *file, int line, const char *format, va_list args)
{
    const char *base = strrchr(file, '/');
    char text[1024];

    vsnprintf(text, sizeof text, format, args);

    /* The rest of the process may be in any state: no lock is waited for. */
    printf("#   %s:%d: %s\n", base ? base + 1 : file, line, text);
    if (part[0]) {
        printf("#   in part: %s\n", part);
    }
    if (!verbose) {
        unsigned int n = n_log_lines;

        for (unsigned int i = n > 12 ? n - 12 : 0; i < n; i++) {
            printf("#   log %s: %s\n", log_lines[i].port, log_lines[i].text);
        }
    }
    fflush(stdout);
    _exit(1);
}

void
test_fail(const char *file, int line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fail(file, line, format, args);
}

/* What the front end calls. */
void
fe_failed(const char *file, int line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fail(file, line, format, args);
}

void
test_skip(const char *format, ...)
{
    va_list args;

    printf("#   skipped: ");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
    _exit(EXIT_SKIP);
}

long long int
test_now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}

void
test_sleep_us(unsigned int us)
{
    struct timespec ts = { us / 1000000, us % 1000000 * 1000L };

    while (nanosleep(&ts, &ts) && errno == EINTR) {
        continue;
    }
}

struct vhost_loop *
test_loop(void)
{
    CHECK(bed.loop != NULL);    /* None with TEST_FORKS. */
    return bed.loop;
}

const char *
test_dir(void)
{
    return bed.dir;
}

const char *
test_path(const char *name)
{
    static char paths[16][512];
    static atomic_uint next;
    char *path = paths[atomic_fetch_add(&next, 1) % 16];

    snprintf(path, sizeof paths[0], "%s/%s", bed.dir, name);
    return path;
}

uint64_t
test_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static uint8_t
pattern_byte(uint64_t seed, size_t i)
{
    uint64_t z = (seed * 0x9e3779b97f4a7c15) ^ (i / 8 * 0xbf58476d1ce4e5b9);

    z ^= z >> 29;
    return z >> (i % 8 * 8);
}

void
pattern_fill(void *p, size_t len, uint64_t seed)
{
    uint8_t *b = p;

    for (size_t i = 0; i < len; i++) {
        b[i] = pattern_byte(seed, i);
    }
}

long int
pattern_differs(const void *p, size_t len, uint64_t seed)
{
    const uint8_t *b = p;

    for (size_t i = 0; i < len; i++) {
        if (b[i] != pattern_byte(seed, i)) {
            return i;
        }
    }
    return -1;
}

/* What a process holds. */

struct holdings {
    unsigned int n_threads;
    unsigned int n_maps;
    unsigned char fds[1024];
};

static unsigned int
count_dir(const char *dir)
{
    unsigned int n = 0;
    struct dirent *e;
    DIR *d = opendir(dir);

    if (!d) {
        return 0;
    }
    while ((e = readdir(d))) {
        n += e->d_name[0] != '.';
    }
    closedir(d);
    return n;
}

unsigned int
test_n_maps(void)
{
    FILE *f = fopen("/proc/self/maps", "re");
    unsigned int n = 0;
    char line[1024];

    while (f && fgets(line, sizeof line, f)) {
        n += strstr(line, "memfd:") || strstr(line, bed.dir)
             || strstr(line, "/dev/shm/");
    }
    if (f) {
        fclose(f);
    }
    return n;
}

unsigned int
test_n_fds(void)
{
    return count_dir("/proc/self/fd") - 1;
}

/* What descriptor 'fd' is, e.g. a path. */
static void
describe_fd(int fd, char *target, size_t size)
{
    char name[64];
    ssize_t n;

    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    n = readlink(name, target, size - 1);
    target[n > 0 ? n : 0] = '\0';
}

static void
take_holdings(struct holdings *h)
{
    bool zero_seen = false;

    memset(h, 0, sizeof *h);
    h->n_threads = count_dir("/proc/self/task");
    h->n_maps = test_n_maps();
    for (int fd = 0; fd < (int) N_ELEMS(h->fds); fd++) {
        char target[256];

        h->fds[fd] = fcntl(fd, F_GETFD) >= 0;
        if (h->fds[fd]) {
            /* notify.c opens /dev/zero once per process. */
            describe_fd(fd, target, sizeof target);
            if (!strcmp(target, "/dev/zero") && !zero_seen) {
                zero_seen = true;
                h->fds[fd] = 0;
            }
        }
    }
}

static bool
holdings_equal(const struct holdings *a, const struct holdings *b)
{
    return a->n_threads == b->n_threads && a->n_maps == b->n_maps
           && !memcmp(a->fds, b->fds, sizeof a->fds);
}

/* Fails unless the process holds what it held at 'before'. */
static void
check_holdings(const struct holdings *before)
{
    long long int end = test_now_us() + 3000000;
    struct holdings after;

    /* A thread that has been joined may be listed for a moment. */
    do {
        take_holdings(&after);
        if (holdings_equal(before, &after)) {
            return;
        }
        test_sleep_us(2000);
    } while (test_now_us() < end);

    for (int fd = 0; fd < (int) N_ELEMS(after.fds); fd++) {
        if (before->fds[fd] != after.fds[fd]) {
            char target[256];

            describe_fd(fd, target, sizeof target);
            printf("#   descriptor %d %s: %s\n", fd,
                   after.fds[fd] ? "left open" : "closed", target);
        }
    }
    if (before->n_threads != after.n_threads) {
        printf("#   threads: %u before, %u after\n", before->n_threads,
               after.n_threads);
    }
    if (before->n_maps != after.n_maps) {
        printf("#   mappings: %u before, %u after\n", before->n_maps,
               after.n_maps);
    }
    test_fail(__FILE__, __LINE__, "the case left something behind");
}

static void
check_dir(void)
{
    if (rmdir(bed.dir)) {
        struct dirent *e;
        DIR *d = opendir(bed.dir);

        while (d && (e = readdir(d))) {
            if (e->d_name[0] != '.') {
                printf("#   file left behind: %s\n", e->d_name);
            }
        }
        if (d) {
            closedir(d);
        }
        test_fail(__FILE__, __LINE__, "%s is not empty", bed.dir);
    }
}

static void *
event_main(void *arg)
{
    vhost_loop_run(arg);
    CHECK(!waiting);
    return NULL;
}

static void *
empty_main(void *arg)
{
    return arg;
}

static void *
worker_main(void *arg)
{
    vhost_loop_worker(arg);
    CHECK(!waiting);
    return NULL;
}

static void
start_loop(void)
{
    static const struct vhost_env env = {
        .log = log_cb,
        .wait_begin = wait_begin_cb,
        .wait_end = wait_end_cb,
    };
    int error = vhost_loop_create(&env, &bed.loop);

    if (error) {
        test_fail(__FILE__, __LINE__, "vhost_loop_create: %s",
                  strerror(error));
    }
    CHECK(!pthread_create(&bed.event, NULL, event_main, bed.loop));
    CHECK(!pthread_create(&bed.worker, NULL, worker_main, bed.loop));
}

static void
stop_loop(void)
{
    vhost_loop_stop(bed.loop);
    pthread_join(bed.event, NULL);
    pthread_join(bed.worker, NULL);
    vhost_loop_destroy(bed.loop);
}

static void
run_child(const struct test_case *tc)
{
    struct holdings before;
    pthread_t thread;

    /* Sanitizers and libc open and start what they need at the first use. */
    test_n_maps();
    CHECK(!pthread_create(&thread, NULL, empty_main, NULL));
    pthread_join(thread, NULL);
    test_sleep_us(test_slow ? 20000 : 500);
    take_holdings(&before);

    if (!(tc->limit & TEST_FORKS)) {
        start_loop();
    }
    tc->run();

    test_part("%s", "end of case");
    if (bed.loop) {
        stop_loop();
    }
    log_free();
    check_holdings(&before);
    check_dir();
}

static void
remove_dir(const char *dir)
{
    char command[128];

    /* The child made sure that it is empty, or failed. */
    if (!access(dir, F_OK)) {
        snprintf(command, sizeof command, "rm -rf '%s'", dir);
        if (system(command)) {
            perror(dir);
        }
    }
}

enum outcome { PASSED, FAILED, SKIPPED };

static enum outcome
run_case(const struct test_case *tc)
{
    const char *limit = getenv("UNIT_TIMEOUT");
    const char *tmp = getenv("TMPDIR");
    unsigned int seconds = tc->limit & ~TEST_FORKS;
    long long int end;
    int status;
    pid_t pid;

    seconds = (seconds ? seconds : USUAL_SECONDS) * (test_slow ? 4 : 1);
    if (limit) {
        seconds = atoi(limit);
    }
    /* A socket's path has 107 bytes at most, so TMPDIR must be short. */
    if (!tmp || strlen(tmp) > 24) {
        tmp = "/tmp";
    }
    snprintf(bed.dir, sizeof bed.dir, "%s/vhost-unit.XXXXXX", tmp);
    if (!mkdtemp(bed.dir)) {
        printf("#   %s: %s\n", bed.dir, strerror(errno));
        return FAILED;
    }

    fflush(stdout);
    pid = fork();
    if (!pid) {
        run_child(tc);
        /* exit(), not _exit(): here LeakSanitizer looks. */
        exit(0);
    }
    end = test_now_us() + seconds * 1000000LL;
    while (!waitpid(pid, &status, WNOHANG)) {
        if (test_now_us() > end) {
            printf("#   no end after %u seconds\n", seconds);
            kill(pid, SIGABRT);
            test_sleep_us(200000);
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            break;
        }
        test_sleep_us(500);
    }
    remove_dir(bed.dir);
    if (WIFEXITED(status) && !WEXITSTATUS(status)) {
        return PASSED;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIP) {
        return SKIPPED;
    }
    if (WIFSIGNALED(status)) {
        printf("#   killed by signal %d (%s)\n", WTERMSIG(status),
               strsignal(WTERMSIG(status)));
    } else if (WEXITSTATUS(status) != 1) {
        printf("#   exit status %d\n", WEXITSTATUS(status));
    }
    return FAILED;
}

/* A case of a group, with the name that it is called by. */
struct item {
    char name[80];
    const struct test_case *tc;
    uint64_t variant;
};

static struct item *
list_cases(const struct test_group *groups, size_t n_groups, size_t *n_items)
{
    struct item *items;
    size_t n = 0;

    for (size_t i = 0; i < n_groups; i++) {
        n += groups[i].n_cases;
    }
    items = calloc(n, sizeof *items);
    CHECK(items != NULL);
    *n_items = n;
    n = 0;
    for (size_t i = 0; i < n_groups; i++) {
        for (size_t k = 0; k < groups[i].n_cases; k++) {
            struct item *item = &items[n++];

            item->tc = &groups[i].cases[k];
            item->variant = groups[i].variant;
            snprintf(item->name, sizeof item->name, "%s%s", groups[i].prefix,
                     item->tc->name);
        }
    }
    return items;
}

static bool
wanted(const char *name, char *names[])
{
    if (!names[0]) {
        return true;
    }
    for (; names[0]; names++) {
        if (!strcmp(names[0], name)) {
            return true;
        }
    }
    return false;
}

/* Runs those of 'items' that 'names' wants, or all. */
static int
run_items(const struct item *items, size_t n_items, char *names[])
{
    static const char *words[] = { "ok", "not ok", "ok" };
    unsigned int counts[3] = { 0, 0, 0 };
    unsigned int n = 0, n_wanted = 0;

    for (size_t i = 0; i < n_items; i++) {
        n_wanted += wanted(items[i].name, names);
    }
    if (!n_wanted) {
        printf("Bail out! no such case\n");
        return 1;
    }
    printf("1..%u\n", n_wanted);
    for (size_t i = 0; i < n_items; i++) {
        if (wanted(items[i].name, names)) {
            long long int start = test_now_us();
            enum outcome o;

            variant = items[i].variant;
            o = run_case(items[i].tc);
            counts[o]++;
            printf("%s %u - %s%s (%lld ms)\n", words[o], ++n, items[i].name,
                   o == SKIPPED ? " # SKIP" : "",
                   (test_now_us() - start) / 1000);
        }
    }
    printf("# %u passed, %u failed, %u skipped\n", counts[PASSED],
           counts[FAILED], counts[SKIPPED]);
    return counts[FAILED] ? 1 : counts[PASSED] ? 0 : EXIT_SKIP;
}

int
test_main_groups(int argc, char *argv[], const struct test_group *groups,
                 size_t n_groups)
{
    struct rlimit no_core = { 0, 0 };
    char **names = argv + (argc > 0);
    struct item *items;
    size_t n_items;
    int status;

    setvbuf(stdout, NULL, _IOLBF, 0);
    setrlimit(RLIMIT_CORE, &no_core);
    signal(SIGPIPE, SIG_DFL);   /* A stray write to a dead peer must show. */
    items = list_cases(groups, n_groups, &n_items);
    if (names[0] && !strcmp(names[0], "--list")) {
        for (size_t i = 0; i < n_items; i++) {
            puts(items[i].name);
        }
        status = 0;
    } else {
        verbose = names[0] && !strcmp(names[0], "-v");
        status = run_items(items, n_items, names + verbose);
    }
    free(items);
    return status;
}

int
test_main(int argc, char *argv[], const struct test_case *cases,
          size_t n_cases)
{
    struct test_group all = { "", 0, cases, n_cases };

    return test_main_groups(argc, argv, &all, 1);
}
