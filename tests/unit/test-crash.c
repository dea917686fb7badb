/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Unit tests of what is left when a process is killed: crash records in files
 * (record-file.h), and rings that another process goes on with.
 *
 *   - A process is killed at every store that it makes while it gives buffers
 *     back, and a new one maps the file and goes on.
 *
 *   - Processes with a whole port are killed at any time under load, again and
 *     again; a guest keeps exact books.
 *
 *   - Files that are damaged, of others, or that there is no room for. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/magic.h>

#include "machine.h"
#include "record-file.h"

/* A directory on tmpfs for the running case. */
static char dir_path[64];
static struct vhost_record_dir *dir;

static void
dir_open(void)
{
    char template[] = "/dev/shm/vhost-crash.XXXXXX";
    struct statfs fs;
    char *error = NULL;

    if (statfs("/dev/shm", &fs) || fs.f_type != TMPFS_MAGIC
        || !mkdtemp(template)) {
        test_skip("/dev/shm is no tmpfs to write to");
    }
    snprintf(dir_path, sizeof dir_path, "%s", template);
    if (vhost_record_dir_open(dir_path, "x.", &dir, &error)) {
        test_fail(__FILE__, __LINE__, "%s", error ? error : "no text");
    }
}

static const char *
file_path(const char *name)
{
    static char path[512];

    snprintf(path, sizeof path, "%s/%s", dir_path, name);
    return path;
}

static bool
exists(const char *name)
{
    struct stat s;

    return !lstat(file_path(name), &s);
}

/* Fails unless there are 'n' files; removes them. */
static void
dir_close(unsigned int n)
{
    struct dirent *e;
    DIR *d;

    vhost_record_dir_close(dir);
    d = opendir(dir_path);
    CHECK(d != NULL);
    while ((e = readdir(d))) {
        if (e->d_name[0] != '.') {
            CHECK_GT(n, 0);
            n--;
            CHECK_EQ(remove(file_path(e->d_name)), 0);
        }
    }
    closedir(d);
    CHECK_EQ(n, 0);
    CHECK_EQ(rmdir(dir_path), 0);
}

/* Runs 'f(aux)' in a child.  Returns its exit status, or -1 if it was
 * killed. */
static int
in_child(int (*f)(void *), void *aux)
{
    pid_t pid = fork();
    int status;

    CHECK_GE(pid, 0);
    if (!pid) {
        int result = f(aux);

        fflush(stdout);
        _exit(result);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Killed at every store. */

static struct vhost_record_file file;

/* Has the record of 'm' in its file, which only this process has then. */
static void
attach(struct machine *m)
{
    if (m->vr.packed) {
        struct vhost_crash_record *r;

        vhost_record_file_open(&file, dir, "p");
        CHECK_GE(file.fd, 0);   /* Somebody's. */
        r = vhost_record_file_get(&file, m->vr.idx);
        CHECK(r != NULL);
        machine_set_record(m, r);
    }
}

struct heir {
    struct machine *m;
    bool looks;                 /* The guest does, before. */
    bool exact;                 /* The front end says where the ring is. */
    unsigned int n_completed;   /* Expected. */
};

/* Who comes after it. */
static int
succeed(void *heir_)
{
    struct heir *heir = heir_;

    attach(heir->m);
    if (heir->exact) {
        heir->m->key.base = fe_vq_base(&heir->m->vq);
    }
    CHECK_EQ(machine_succeed(heir->m, heir->looks), heir->n_completed);
    return 0;
}

/* The record of vring 'idx', the last one in the file, as somebody sees it who
 * does not care for locks. */
static struct vhost_crash_record *
map_record(unsigned int idx, uint8_t **mapp, size_t *sizep)
{
    int fd = open(file_path("x.p.rings"), O_RDWR | O_CLOEXEC);
    struct stat s;

    CHECK_GE(fd, 0);
    CHECK_EQ(fstat(fd, &s), 0);
    *sizep = s.st_size;
    *mapp = mmap(NULL, s.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(*mapp != MAP_FAILED);
    close(fd);
    return (void *) (*mapp + s.st_size - (s.st_size - 64) / (idx + 1));
}

/* Lets a child begin to push, kills it after the 'n'th store that changes
 * something, and lets others go on.  Returns false if there were not so
 * many. */
static bool
kill_at(const struct scene *scene, unsigned int idx, unsigned int n)
{
    struct machine m;
    struct picture before, now;
    unsigned int n_bufs, n_stores = 0;
    const struct vhost_region *guest;
    uint8_t *map = NULL, *copy;
    bool ended = false;
    size_t size = 0;
    pid_t pid;

    vhost_record_file_open(&file, dir, "p");
    n_bufs = machine_play(&m, scene, idx, vhost_record_file_get(&file, idx));
    vhost_record_file_close(&file);
    if (m.vr.packed) {
        machine_set_record(&m, map_record(idx, &map, &size));
    }

    pid = step_start(&m, attach, machine_push);
    take_picture(&m, &before);
    while (!ended && n_stores < n) {
        ended = !step(pid);
        take_picture(&m, &now);
        if (memcmp(&before, &now, sizeof now)) {
            n_stores++;
            before = now;
        }
    }
    step_kill(pid);
    guest = &m.mem->regions[0];
    copy = malloc(guest->size);
    CHECK(copy != NULL);
    memcpy(copy, guest->host, guest->size);
    for (unsigned int i = 0; i < 3 && !ended; i++) {
        struct heir heir = {
            .m = &m, .looks = i, .exact = i == 2,
            .n_completed = (m.vr.packed && atomic_load(&before.record.pending)
                            ? n_bufs : 0),
        };

        test_part("ring %u, %s, killed after %u stores, heir %u", idx,
                  scene->name, n, i);
        memcpy(guest->host, copy, guest->size);
        put_picture(&m, &before);
        CHECK_EQ(in_child(succeed, &heir), 0);
    }
    if (m.vr.packed) {
        munmap(map, size);
        unlink(file_path("x.p.rings"));
    }
    free(copy);
    machine_destroy(&m);
    return !ended;
}

static void
test_killed(void)
{
    if (!may_trace()) {
        test_skip("this process may not trace others");
    }
    dir_open();
    for (unsigned int i = 0; i < n_scenes; i += test_slow ? 3 : 1) {
        for (unsigned int idx = 0; idx < 2; idx++) {
            unsigned int n = 0;

            while (kill_at(&scenes[i], idx, n)) {
                n++;
            }
            /* Split: an entry, the index.  Packed: the record, the ring, the
             * record. */
            CHECK_GE(n, test_variant() & FE_F_PACKED ? 6 : 2);
        }
    }
    dir_close(0);
}

/* Killed under load, with everything that belongs to a port. */

#define LOAD_KILLS (test_slow ? 10 : 40)
#define MAX_FRAMES (1 << 22)
#define LOAD_LIMIT 30000000     /* Microseconds without enough of them. */

/* What the processes with the port tell, in memory that outlives them. */
struct books {
    _Atomic bool ready;
    _Atomic uint32_t n_sent;    /* Numbers frames to the guest. */
    _Atomic uint8_t got[MAX_FRAMES];    /* Frames of the guest, by number. */
};

struct load {
    struct rig rig;             /* The front end; its port is elsewhere. */
    struct books *books;
    uint64_t mem[2];
    unsigned int offered[2], returned[2];
    uint32_t next_number;       /* From the switch: larger than before. */
};

static void
print_log(enum vhost_log_level level, const char *port, const char *format,
          va_list args)
{
    if (getenv("TEST_CRASH_LOG")) {
        printf("# %d %s: ", (int) level, port ? port : "-");
        vprintf(format, args);
        printf("\n");
        fflush(stdout);
    }
}

static void *
run_loop(void *loop)
{
    vhost_loop_run(loop);
    return NULL;
}

static void *
run_worker(void *loop)
{
    vhost_loop_worker(loop);
    return NULL;
}

static void
back_end_poll(struct vhost_rxq *q, struct vhost_sender *s, struct books *books)
{
    uint32_t lens[VHOST_BURST], numbers[VHOST_BURST];
    struct vhost_burst *b = rig_burst();
    enum vhost_reserve why;
    uint8_t frame[256];
    unsigned int n = vhost_rxq_peek(q, b, VHOST_BURST);

    for (unsigned int i = 0; i < n; i++) {
        CHECK_EQ(b->pkts[i].len, 100);
        vhost_burst_read(b, i, frame);
        memcpy(&numbers[i], frame, sizeof numbers[i]);
        CHECK_LT(numbers[i], MAX_FRAMES);
    }
    if (n) {
        vhost_rxq_complete(q, b, n);
    }
    for (unsigned int i = 0; i < n; i++) {
        atomic_fetch_add(&books->got[numbers[i]], 1);   /* Sent on. */
    }

    for (unsigned int i = 0; i < VHOST_BURST; i++) {
        lens[i] = 100;
    }
    n = vhost_sender_reserve(s, b, lens, VHOST_BURST, false, &why);
    for (unsigned int i = 0; i < n; i++) {
        uint32_t number = atomic_fetch_add(&books->n_sent, 1);

        memset(frame, 0, sizeof frame);
        memcpy(frame, &number, sizeof number);
        vhost_burst_write(b, i, frame);
    }
    if (n) {
        vhost_sender_commit(s, b, false);
    }
}

/* A process with a port, as ovs-vswitchd is one.  Never returns. */
static void
back_end(const struct load *load)
{
    static const struct vhost_env env = { .log = print_log };
    struct vhost_port_config c = {
        .name = "p", .role = VHOST_SERVER, .path = load->rig.path,
        .offer.features = vhost_supported_features,
        .offer.protocol_features = vhost_supported_protocol_features,
        .offer.queue_pairs = 1,
        .max_queue_pairs = 1,
    };
    struct vhost_loop *loop;
    struct vhost_port *port;
    pthread_t thread;
    char *error;

    CHECK_EQ(vhost_loop_create(&env, &loop), 0);
    CHECK_EQ(vhost_loop_set_record_dir(loop, dir_path, "x.", &error), 0);
    CHECK(!pthread_create(&thread, NULL, run_loop, loop));
    CHECK(!pthread_create(&thread, NULL, run_worker, loop));
    CHECK_EQ(vhost_port_create(loop, &c, &port, &error), 0);
    CHECK_EQ(vhost_port_set_senders(port, 1, 1), 0);
    atomic_store(&load->books->ready, true);
    for (;;) {
        back_end_poll(vhost_port_rxq(port, 0), vhost_port_sender(port, 0),
                      load->books);
    }
}

static pid_t
back_end_start(const struct load *load)
{
    pid_t pid;

    atomic_store(&load->books->ready, false);
    pid = fork();
    CHECK_GE(pid, 0);
    if (!pid) {
        back_end(load);
        _exit(1);
    }
    WAIT_FOR(atomic_load(&load->books->ready));
    return pid;
}

/* The guest offers all that it can and takes all that came back. */
static void
load_turn(struct load *load)
{
    static uint8_t frame[256];
    struct fe_vq *rx = RIG_RX(&load->rig, 0), *tx = RIG_TX(&load->rig, 0);
    struct virtio_net_hdr_mrg_rxbuf h;
    struct fe_buf bufs[4];
    uint16_t head;
    uint32_t len, number;
    unsigned int n;

    while (fe_vq_used(tx, &head, &len)) {
        CHECK_EQ(tx->chains[head].token, load->returned[1]);
        load->returned[1]++;
    }
    while (fe_net_take(rx, &h, frame, sizeof frame, &head, &n, 1) >= 0) {
        CHECK_EQ(n, 1);
        CHECK_EQ(rx->chains[head].token, load->returned[0]);
        load->returned[0]++;
        memcpy(&number, frame, sizeof number);
        CHECK_GE(number, load->next_number);    /* Nothing comes twice. */
        load->next_number = number + 1;
    }
    for (unsigned int idx = 0; idx < 2; idx++) {
        struct fe_vq *vq = &load->rig.vqs[idx];

        /* Chains of one to three pieces. */
        while (vq->n_free >= 3 && load->offered[idx] < MAX_FRAMES) {
            unsigned int token = load->offered[idx]++;
            uint64_t addr = load->mem[idx] + token % vq->size * 128;

            memset(frame, 0, sizeof frame);
            memcpy(frame, &token, sizeof token);
            fe_net_write(&load->rig.fe, addr, NULL, frame, 100);
            n = fe_split(bufs, addr, 112, 1 + token % 3, !idx);
            CHECK_GE(fe_vq_add(vq, bufs, n, 0, token), 0);
        }
        fe_vq_publish(vq);
    }
}

static void
load_connect(struct load *load)
{
    rig_connect(&load->rig);
    for (unsigned int i = 0; i < 2; i++) {
        struct fe_vq *vq = &load->rig.vqs[i];

        if (!load->mem[i]) {
            load->mem[i] = fe_alloc(&load->rig.fe, 0, vq->size * 128, 64);
        }
        fe_vq_start(vq, (load->rig.fe.features & FE_F_PACKED
                         ? fe_vq_old_base(vq) : fe_vq_base(vq)), true);
    }
}

/* Lets the guest work until so many buffers of it went through each ring. */
static void
load_run(struct load *load, unsigned int n)
{
    unsigned int end[2] = { load->returned[0] + n, load->returned[1] + n };
    long long int limit = test_now_us() + LOAD_LIMIT;

    while (load->returned[0] < end[0] || load->returned[1] < end[1]) {
        CHECK_LT(test_now_us(), limit);
        load_turn(load);
        sched_yield();
    }
}

static void
test_killed_under_load(void)
{
    static struct load load;
    unsigned int n_lost = 0, n_got = 0;
    uint64_t rnd = 1;
    pid_t pid;

    dir_open();
    memset(&load, 0, sizeof load);
    load.books = mmap(NULL, sizeof *load.books, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(load.books != MAP_FAILED);
    rig_prepare(&load.rig, "p", NULL);
    for (unsigned int i = 0; i < LOAD_KILLS; i++) {
        test_part("life %u", i);
        pid = back_end_start(&load);
        load_connect(&load);
        load_run(&load, 100 + test_random(&rnd) % 400);
        kill(pid, SIGKILL);
        CHECK_EQ(waitpid(pid, NULL, 0), pid);
        fe_hang_up(&load.rig.fe);
    }

    /* All that the guest had offered comes back. */
    test_part("%s", "the last life");
    pid = back_end_start(&load);
    load_connect(&load);
    load_run(&load, 2 * 256);
    step_kill(pid);

    for (unsigned int i = 0; i < load.returned[1]; i++) {
        unsigned int n = atomic_load(&load.books->got[i]);

        CHECK_LE(n, 1);
        n_lost += !n;
        n_got += n;
    }
    printf("#   %u frames from the guest, %u of them lost in %u kills; "
           "%u to it, of %u\n", n_got + n_lost, n_lost, LOAD_KILLS + 1,
           load.returned[0], atomic_load(&load.books->n_sent));
    CHECK_LE(n_lost, (LOAD_KILLS + 1) * VHOST_BURST);
    CHECK_LE(load.next_number - load.returned[0],
             (LOAD_KILLS + 1) * VHOST_BURST);
    munmap(load.books, sizeof *load.books);
    unlink(load.rig.path);
    rig_free_guest(&load.rig);
    dir_close(test_variant() & FE_F_PACKED ? 1 : 0);
}

/* Files. */

/* Opens the file of 'port' as the port does. */
static void
open_file(struct vhost_record_file *f, const char *port)
{
    vhost_record_file_open(f, dir, port);
}

/* Makes the record of vring 'idx' one that is live, and recognised by
 * 'mark'. */
static void
write_record(struct vhost_record_file *f, unsigned int idx, uint16_t mark)
{
    struct vhost_crash_record *r = vhost_record_file_get(f, idx);

    if (!r) {
        test_fail(__FILE__, __LINE__, "record %u: %s", idx, f->error);
    }
    r->cookie = 1;
    r->first = mark;
}

static void
check_record(struct vhost_record_file *f, unsigned int idx, uint16_t mark)
{
    struct vhost_crash_record *r = vhost_record_file_get(f, idx);

    CHECK(r != NULL);
    CHECK_EQ(vhost_record_is_live(r), mark != 0);
    CHECK_EQ(r->first, mark);
}

/* Leaves a file of port p with a record for vring 3. */
static void
leave_file(void)
{
    struct vhost_record_file f;

    open_file(&f, "p");
    write_record(&f, 3, 77);
    vhost_record_file_close(&f);
    CHECK(exists("x.p.rings"));
}

/* Port p finds nothing of use, and makes do with a new file. */
static void
expect_replaced(void)
{
    struct vhost_record_file f;

    open_file(&f, "p");
    CHECK_EQ(f.fd, -1);
    check_record(&f, 3, 0);
    check_record(&f, 0, 0);
    write_record(&f, 1, 5);
    vhost_record_file_close(&f);
    open_file(&f, "p");
    CHECK_GE(f.fd, 0);
    check_record(&f, 1, 5);
    vhost_record_file_clear(&f, 1);
    vhost_record_file_close(&f);
    CHECK(!exists("x.p.rings"));
}

static void
test_file(void)
{
    struct vhost_record_file f, g;
    struct stat s;

    dir_open();
    CHECK_EQ(stat(dir_path, &s), 0);
    CHECK_EQ(s.st_mode & 0777, 0700);

    /* Made when it is needed, kept while it is, removed after that. */
    open_file(&f, "p");
    CHECK(!exists("x.p.rings"));
    check_record(&f, 0, 0);
    CHECK(exists("x.p.rings"));
    vhost_record_file_drop(&f);
    CHECK(!exists("x.p.rings"));
    write_record(&f, 1, 11);
    CHECK_EQ(stat(file_path("x.p.rings"), &s), 0);
    CHECK_EQ(s.st_mode & 0777, 0600);
    CHECK_GE(s.st_blocks * 512, s.st_size);
    write_record(&f, VHOST_MAX_VRINGS - 1, 22);
    CHECK_EQ(stat(file_path("x.p.rings"), &s), 0);
    CHECK_GE(s.st_blocks * 512, s.st_size);
    check_record(&f, 1, 11);
    vhost_record_file_drop(&f);
    vhost_record_file_close(&f);

    open_file(&f, "p");
    CHECK_GE(f.fd, 0);
    check_record(&f, 0, 0);
    check_record(&f, 1, 11);
    check_record(&f, VHOST_MAX_VRINGS - 1, 22);
    vhost_record_file_clear(&f, 1);
    vhost_record_file_clear(&f, 0);
    vhost_record_file_drop(&f);
    CHECK(exists("x.p.rings"));
    vhost_record_file_clear(&f, VHOST_MAX_VRINGS - 1);
    vhost_record_file_close(&f);
    CHECK(!exists("x.p.rings"));

    /* Two ports, and names that are no file's. */
    open_file(&f, "../p");
    open_file(&g, "..%2fp");
    write_record(&f, 0, 1);
    write_record(&g, 0, 2);
    check_record(&f, 0, 1);
    CHECK(exists("x...%2fp.rings"));
    CHECK(exists("x...%252fp.rings"));
    vhost_record_file_close(&f);
    vhost_record_file_close(&g);
    open_file(&f, "\n \xff");
    write_record(&f, 0, 1);
    CHECK(exists("x.%0a%20%ff.rings"));
    vhost_record_file_close(&f);
    {
        char name[300];

        memset(name, 'n', sizeof name - 1);
        name[sizeof name - 1] = '\0';
        open_file(&f, name);
        CHECK(!vhost_record_file_get(&f, 0));
        CHECK_HAS(f.error, "too long");
        vhost_record_file_close(&f);
    }

    /* No directory at all. */
    vhost_record_file_open(&f, NULL, "p");
    CHECK(!vhost_record_file_get(&f, 0));
    vhost_record_file_clear(&f, 0);
    vhost_record_file_drop(&f);
    vhost_record_file_close(&f);
    dir_close(3);
}

/* What somebody has left there that is no such file. */

static void
test_file_damaged(void)
{
    static uint8_t good[32768], bad[32768];
    uint64_t rnd = 3;
    struct stat s;
    int fd;

    dir_open();
    leave_file();
    fd = open(file_path("x.p.rings"), O_RDONLY | O_CLOEXEC);
    CHECK_EQ(fstat(fd, &s), 0);
    CHECK_LE(s.st_size, sizeof good);
    CHECK_EQ(read(fd, good, s.st_size), s.st_size);
    close(fd);
    unlink(file_path("x.p.rings"));
    for (unsigned int i = 0; i < 60; i++) {
        off_t size = s.st_size;

        memcpy(bad, good, sizeof bad);
        test_part("damage %u", i);
        if (i < 16) {
            bad[i] ^= 1 << i % 8;           /* Header. */
        } else if (i < 30) {
            size = test_random(&rnd) % size;
        } else if (i < 40) {
            size += 1 + test_random(&rnd) % 4000;
        } else if (i < 50) {
            size = i - 40;
        } else {
            for (unsigned int k = 0; k < sizeof bad; k++) {
                bad[k] = test_random(&rnd);
            }
        }
        fd = open(file_path("x.p.rings"), O_WRONLY | O_CREAT | O_CLOEXEC,
                  0600);
        CHECK_EQ(write(fd, bad, size), size);
        close(fd);
        expect_replaced();
    }
    dir_close(0);
}

static void
test_file_foreign(void)
{
    const char *path;
    struct vhost_record_file f;
    struct stat s;

    dir_open();
    test_part("%s", "a symbolic link");
    leave_file();
    {
        char from[512];

        snprintf(from, sizeof from, "%s", file_path("x.p.rings"));
        CHECK_EQ(rename(from, file_path("target")), 0);
        CHECK_EQ(symlink("target", file_path("x.p.rings")), 0);
        expect_replaced();
        CHECK_EQ(stat(file_path("target"), &s), 0);
        CHECK_GT(s.st_size, 4096);

        test_part("%s", "a file with a second name");
        CHECK_EQ(link(file_path("target"), from), 0);
        expect_replaced();
    }

    test_part("%s", "a FIFO");
    path = file_path("x.p.rings");
    CHECK_EQ(mkfifo(path, 0600), 0);
    expect_replaced();

    test_part("%s", "a file that others may write to");
    leave_file();
    CHECK_EQ(chmod(path, 0620), 0);
    expect_replaced();

    test_part("%s", "a directory");
    CHECK_EQ(mkdir(path, 0700), 0);
    open_file(&f, "p");
    CHECK(!vhost_record_file_get(&f, 0));
    CHECK_NE(f.error[0], 0);
    vhost_record_file_close(&f);
    CHECK_EQ(rmdir(path), 0);

    if (!geteuid()) {
        test_part("%s", "another user's file");
        leave_file();
        CHECK_EQ(chown(path, 12345, -1), 0);
        expect_replaced();
    }
    dir_close(1);
}

static void
expect_no_dir(const char *path, int error, const char *why)
{
    struct vhost_record_dir *d;
    char *text = NULL;

    CHECK_EQ(vhost_record_dir_open(path, "", &d, &text), error);
    CHECK_HAS(text, why);
    free(text);
}

static void
test_directory(void)
{
    char sub[128], *text;
    struct vhost_record_dir *d;
    struct statfs fs;
    struct stat s;

    dir_open();
    snprintf(sub, sizeof sub, "%s/d", dir_path);
    CHECK_EQ(vhost_record_dir_open(sub, "", &d, &text), 0);
    vhost_record_dir_close(d);
    CHECK_EQ(vhost_record_dir_open(sub, "", &d, &text), 0);
    vhost_record_dir_close(d);
    CHECK_EQ(chmod(sub, 0770), 0);
    expect_no_dir(sub, EPERM, "others may write");
    CHECK_EQ(chmod(sub, 01777), 0);
    expect_no_dir(sub, EPERM, "others may write");
    CHECK_EQ(chmod(sub, 0755), 0);
    CHECK_EQ(vhost_record_dir_open(sub, "", &d, &text), 0);
    vhost_record_dir_close(d);
    if (!geteuid()) {
        CHECK_EQ(chown(sub, 12345, -1), 0);
        expect_no_dir(sub, EPERM, "another user's");
    }
    CHECK_EQ(rmdir(sub), 0);
    CHECK_EQ(symlink(".", sub), 0);
    expect_no_dir(sub, ENOTDIR, "Not a directory");
    CHECK_EQ(unlink(sub), 0);
    CHECK_EQ(mkfifo(sub, 0600), 0);
    expect_no_dir(sub, ENOTDIR, "Not a directory");
    CHECK_EQ(unlink(sub), 0);
    snprintf(sub, sizeof sub, "%s/no/such", dir_path);
    expect_no_dir(sub, ENOENT, "No such file");
    expect_no_dir("/proc", ENOTSUP, "not on tmpfs");

    /* Nothing is left of one that was made in vain. */
    if (!statfs(test_dir(), &fs) && fs.f_type != TMPFS_MAGIC) {
        expect_no_dir(test_path("d"), ENOTSUP, "not on tmpfs");
        CHECK_EQ(stat(test_path("d"), &s), -1);
    }
    dir_close(0);
}

/* Two processes. */

static int
find_it_busy(void *aux)
{
    struct vhost_record_file f;

    (void) aux;
    open_file(&f, "p");
    CHECK_EQ(f.fd, -1);
    CHECK(!vhost_record_file_get(&f, 3));
    CHECK_HAS(f.error, "another process");
    vhost_record_file_close(&f);
    return 0;
}

static void
test_file_in_use(void)
{
    struct vhost_record_file f, g;

    dir_open();
    leave_file();
    open_file(&f, "p");
    CHECK_EQ(in_child(find_it_busy, NULL), 0);
    check_record(&f, 3, 77);
    CHECK_EQ(vhost_record_dir_sweep(dir, -10), 0);
    CHECK(exists("x.p.rings"));

    /* One that comes too early gets it later. */
    open_file(&g, "p");
    CHECK_EQ(g.fd, -1);
    vhost_record_file_close(&f);
    check_record(&g, 3, 77);

    /* The other one removes the file. */
    open_file(&f, "p");
    vhost_record_file_clear(&g, 3);
    vhost_record_file_close(&g);
    check_record(&f, 3, 0);
    write_record(&f, 3, 5);
    vhost_record_file_close(&f);
    dir_close(1);
}

static void
set_age(const char *name, int seconds)
{
    struct timespec times[2] = { { time(NULL) - seconds, 0 },
                                 { time(NULL) - seconds, 0 } };

    CHECK_EQ(utimensat(AT_FDCWD, file_path(name), times, 0), 0);
}

static void
test_sweep(void)
{
    struct vhost_record_file f, g;
    int fd;

    dir_open();
    leave_file();
    open_file(&f, "q");
    write_record(&f, 0, 1);
    open_file(&g, "r");
    write_record(&g, 0, 1);
    vhost_record_file_close(&g);
    fd = open(file_path("other"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    close(fd);
    CHECK_EQ(symlink("other", file_path("x.s.rings")), 0);
    CHECK_EQ(mkdir(file_path("x.t.rings"), 0700), 0);
    set_age("x.p.rings", 101);
    set_age("x.q.rings", 1000);
    set_age("x.r.rings", 80);
    set_age("other", 1000);
    set_age("x.t.rings", 1000);
    CHECK_EQ(vhost_record_dir_sweep(dir, 100), 1);
    CHECK(!exists("x.p.rings"));
    CHECK(exists("x.q.rings"));
    CHECK(exists("x.r.rings"));

    /* That it was in use at that time counts. */
    vhost_record_file_close(&f);
    CHECK_EQ(vhost_record_dir_sweep(dir, 100), 0);
    set_age("x.q.rings", 101);
    CHECK_EQ(vhost_record_dir_sweep(dir, 100), 1);
    CHECK(!exists("x.q.rings"));
    CHECK(exists("other"));
    dir_close(4);
}

/* No room: stores must not find that out. */
static int
fill_up(void *aux)
{
    char path[sizeof dir_path + 8], *error;
    struct vhost_record_file f, g;
    unsigned int n = 0;

    (void) aux;
    snprintf(path, sizeof path, "%s/m", dir_path);
    CHECK_EQ(mkdir(path, 0700), 0);
    if (unshare(CLONE_NEWNS)
        || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)
        || mount("none", path, "tmpfs", 0, "size=64k,mode=700")) {
        return 77;
    }
    vhost_record_dir_close(dir);
    CHECK_EQ(vhost_record_dir_open(path, "", &dir, &error), 0);
    open_file(&f, "p");
    open_file(&g, "q");
    while (vhost_record_file_get(&f, n)) {
        write_record(&f, n, n + 1);
        n++;
    }
    CHECK_HAS(f.error, "No space left");
    CHECK_GE(n, 13);
    CHECK_LE(n, 15);
    for (unsigned int i = 0; i < n; i++) {
        check_record(&f, i, i + 1);
    }
    CHECK(!vhost_record_file_get(&g, 3));
    CHECK_HAS(g.error, "No space left");
    vhost_record_file_close(&f);

    /* Nothing without memory is left behind. */
    open_file(&f, "p");
    for (unsigned int i = 0; i < n; i++) {
        check_record(&f, i, i + 1);
        vhost_record_file_clear(&f, i);
    }
    vhost_record_file_close(&f);
    check_record(&g, 3, 0);
    vhost_record_file_close(&g);
    vhost_record_dir_close(dir);
    CHECK_EQ(umount(path), 0);
    return 0;
}

static void
test_full(void)
{
    int status;
    char path[sizeof dir_path + 8];

    dir_open();
    status = in_child(fill_up, NULL);
    snprintf(path, sizeof path, "%s/m", dir_path);
    rmdir(path);
    dir_close(0);
    if (status == 77) {
        test_skip("this process may not mount anything");
    }
    CHECK_EQ(status, 0);
}

/* Whole ports, one after the other. */

static void
set_record_dir(void)
{
    char *error = NULL;

    dir_open();
    CHECK_EQ(vhost_loop_set_record_dir(test_loop(), dir_path, "x.", &error),
             0);
}

static void
start_at_old_base(struct rig *rig)
{
    rig_connect(rig);
    for (unsigned int i = 0; i < 2 * rig->c.n_pairs; i++) {
        rig_start_ring(rig, i, fe_vq_old_base(&rig->vqs[i]));
    }
}

/* A port is destroyed with its guest at work and made again. */
static void
test_port_again(void)
{
    struct rig_config c = {
        .ring_size = 8, .n_pairs = 2, .n_senders = 2,
    };
    struct rig rig;

    set_record_dir();
    rig_open(&rig, "p", &c);
    CHECK(exists("x.p.rings"));
    CHECK_HAS(rig_info(&rig).record, "/x.p.rings");
    for (unsigned int i = 0; i < 40; i++) {
        test_part("port %u", i);
        for (unsigned int k = 0; k < i % 11; k++) {
            rig_check_traffic(&rig, 0);
            rig_check_traffic(&rig, 1);
        }
        if (i % 3) {
            rig_create_again(&rig);
            CHECK(exists("x.p.rings"));
        } else {
            rig_disconnect(&rig);
        }
        start_at_old_base(&rig);
    }
    rig_check_traffic(&rig, 0);
    rig_check_traffic(&rig, 1);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    CHECK_EQ(test_n_warnings("p"), 0);

    /* After an orderly end nobody needs it. */
    for (unsigned int i = 0; i < 4; i++) {
        fe_vq_stop(&rig.vqs[i]);
    }
    rig_disconnect(&rig);
    CHECK(!exists("x.p.rings"));
    CHECK_EQ(rig_info(&rig).record[0], 0);
    CHECK_EQ(rig_info(&rig).record_error[0], 0);

    /* Neither does a ring that the next port's guest stops at once. */
    start_at_old_base(&rig);
    rig_check_traffic(&rig, 0);
    rig_create_again(&rig);
    CHECK(exists("x.p.rings"));
    rig_connect(&rig);
    for (unsigned int i = 0; i < 4; i++) {
        fe_vq_stop(&rig.vqs[i]);
    }
    rig_close(&rig);
    dir_close(0);
}

/* The guest was reset, or another one came, while there was no port. */
static void
test_port_again_reset(void)
{
    struct rig rig;

    set_record_dir();
    rig_open(&rig, "p", NULL);
    for (unsigned int i = 0; i < 20; i++) {
        test_part("port %u", i);
        for (unsigned int k = 0; k < 3 * i; k++) {
            rig_check_traffic(&rig, 0);
        }
        rig_create_again(&rig);
        if (i % 2) {
            rig_free_guest(&rig);
        } else {
            fe_vq_reset(&rig.vqs[0]);
            fe_vq_reset(&rig.vqs[1]);
        }
        rig_connect(&rig);
        for (unsigned int idx = 0; idx < 2; idx++) {
            rig_start_ring(&rig, idx, 0x80008000);
        }
    }
    rig_check_traffic(&rig, 0);
    CHECK_EQ(rig_all_guest_errors(&rig), 0);
    rig_close(&rig);
    dir_close(1);
}

/* No file is to be had: the port works, says so, and survives what it did
 * before. */
static void
test_port_without_file(void)
{
    struct rig rig;

    set_record_dir();
    CHECK_EQ(mkdir(file_path("x.p.rings"), 0700), 0);
    rig_open(&rig, "p", NULL);
    CHECK_EQ(rig_info(&rig).record[0], 0);
    CHECK_HAS(rig_info(&rig).record_error, "directory");
    CHECK(test_logged("would not survive the end of this process"));
    for (unsigned int i = 0; i < 10; i++) {
        rig_check_traffic(&rig, 0);
    }
    rig_disconnect(&rig);
    start_at_old_base(&rig);
    rig_check_traffic(&rig, 0);
    CHECK_EQ(rmdir(file_path("x.p.rings")), 0);

    /* The next guest has one. */
    fe_vq_stop(&rig.vqs[0]);
    fe_vq_stop(&rig.vqs[1]);
    rig_disconnect(&rig);
    start_at_old_base(&rig);
    rig_check_traffic(&rig, 0);
    CHECK_HAS(rig_info(&rig).record, "x.p.rings");
    CHECK_EQ(rig_info(&rig).record_error[0], 0);
    rig_close(&rig);
    dir_close(1);
}

/* Split rings need no file. */
static void
test_port_split(void)
{
    struct rig rig;

    set_record_dir();
    rig_open(&rig, "p", NULL);
    rig_check_traffic(&rig, 0);
    CHECK_EQ(rig_info(&rig).record[0], 0);
    CHECK_EQ(rig_info(&rig).record_error[0], 0);
    rig_close(&rig);
    dir_close(0);
}

static const struct test_case file_cases[] = {
    { "file", test_file, 0 },
    { "file-damaged", test_file_damaged, 0 },
    { "file-foreign", test_file_foreign, 0 },
    { "directory", test_directory, 0 },
    { "file-in-use", test_file_in_use, TEST_FORKS },
    { "sweep", test_sweep, 0 },
    { "full", test_full, TEST_FORKS },
    { "port-split", test_port_split, 0 },
};

static const struct test_case port_cases[] = {
    { "port-again", test_port_again, 0 },
    { "port-again-reset", test_port_again_reset, 0 },
    { "port-without-file", test_port_without_file, 0 },
};

static const struct test_case cases[] = {
    { "killed", test_killed, 60 | TEST_FORKS },
    { "killed-under-load", test_killed_under_load, 60 | TEST_FORKS },
};

int
main(int argc, char *argv[])
{
    const struct test_group groups[] = {
        { "", 0, file_cases, N_ELEMS(file_cases) },
        { "", FE_F_PACKED, port_cases, N_ELEMS(port_cases) },
        { "split-", 0, cases, N_ELEMS(cases) },
        { "split-in-order-", FE_F_IN_ORDER, cases, N_ELEMS(cases) },
        { "packed-", FE_F_PACKED, cases, N_ELEMS(cases) },
        { "packed-in-order-", FE_F_PACKED | FE_F_IN_ORDER, cases,
          N_ELEMS(cases) },
    };

    return test_main_groups(argc, argv, groups, N_ELEMS(groups));
}
