/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * A virtqueue without a port: see machine.h.
 */

#include "machine.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

void
machine_set_record(struct machine *m, struct vhost_crash_record *record)
{
    m->record = m->vr.record = record;
}

static struct vhost_crash_record *
make_record(struct machine *m)
{
    uint64_t addr = fe_alloc(&m->fe, 0, sizeof *m->record, 64);

    return fe_ptr(&m->fe, addr, sizeof *m->record);
}

/* Where the ring is, in the state of its device. */
static void
go_to(struct machine *m, uint16_t pos)
{
    memset(&m->st, 0, sizeof m->st);
    m->st.last_avail = m->st.used_idx = m->st.avail_seen = pos;
}

static void
describe(struct machine *m, unsigned int idx)
{
    m->vr = (struct vhost_vring) {
        .st = &m->st, .idx = idx, .size = MACHINE_SIZE,
        .mask = MACHINE_SIZE - 1, .hdr_len = 12,
        .packed = m->fe.features & FE_F_PACKED, .simple = true,
        .mergeable = true, .indirect = true, .in_order = m->vq.in_order,
        .callfd = -1, .desc = m->vq.desc, .avail = m->vq.avail,
        .used = m->vq.used, .pdesc = m->vq.ring,
        .driver_event = m->vq.driver_event,
        .device_event = m->vq.device_event, .mem = m->mem,
        .features = m->fe.features,
    };
    m->key = (struct vhost_record_key) {
        .dev = 1, .ino = 2, .desc = m->vq.desc_addr,
        .features = m->fe.features, .size = MACHINE_SIZE,
        .base = fe_vq_base(&m->vq),
    };
}

void
machine_init(struct machine *m, unsigned int idx, unsigned int position,
             struct vhost_crash_record *record)
{
    struct fe_region *r;

    memset(m, 0, sizeof *m);
    fe_init(&m->fe);
    m->fe.features = RIG_FEATURES | test_variant();
    r = fe_add_region(&m->fe, 0x100000, 1 << 20, 0x7f0000000000);
    fe_vq_init(&m->vq, &m->fe, idx, MACHINE_SIZE, 0);
    fe_vq_set_position(&m->vq, position);
    fe_vq_use_indirect(&m->vq, 0, MACHINE_SIZE);
    m->bufs = fe_alloc(&m->fe, 0, MACHINE_SIZE * 2048, 64);

    m->mem = calloc(1, sizeof *m->mem + sizeof m->mem->regions[0]);
    CHECK(m->mem != NULL);
    m->mem->n_regions = 1;
    m->mem->regions[0] = (struct vhost_region) {
        .guest_addr = r->guest_addr, .user_addr = r->user_addr,
        .size = r->size, .host = r->map,
    };
    describe(m, idx);
    go_to(m, m->key.base);
    if (m->vr.packed) {
        machine_set_record(m, record ? record : make_record(m));
        vhost_record_start(m->record, &m->vr, &m->key, m->key.base);
    }
}

void
machine_destroy(struct machine *m)
{
    fe_vq_destroy(&m->vq);
    fe_destroy(&m->fe);
    free(m->mem);
}

void
machine_offer(struct machine *m, unsigned int n)
{
    struct fe_buf bufs[MACHINE_SIZE];
    uint64_t addr = m->bufs + m->offered % MACHINE_SIZE * 2048;

    CHECK_EQ(fe_split(bufs, addr, 112, n, !(m->vq.index & 1)), n);
    CHECK_GE(fe_vq_add(&m->vq, bufs, n, m->indirect ? FE_INDIRECT : 0,
                       m->offered), 0);
    m->offered++;
    fe_vq_publish(&m->vq);
}

unsigned int
machine_begin(struct machine *m, unsigned int max)
{
    static const uint32_t lens[MACHINE_SIZE] = {
        100, 100, 100, 100, 100, 100, 100, 100,
    };
    struct vhost_burst *b = rig_burst();
    enum vhost_reserve why;

    if (m->vq.index & 1) {
        return vring_peek(&m->vr, b, max);
    }
    return (m->vr.packed ? vring_packed_reserve(&m->vr, b, lens, max, &why)
            : vring_split_reserve(&m->vr, b, lens, max, &why));
}

void
machine_push(struct machine *m)
{
    struct vhost_burst *b = rig_burst();

    if (m->vq.index & 1) {
        vring_complete(&m->vr, b, b->n);
    } else if (m->vr.packed) {
        vring_packed_commit(&m->vr, b);
    } else {
        vring_split_commit(&m->vr, b);
    }
}

unsigned int
machine_take(struct machine *m)
{
    unsigned int n = 0;
    uint16_t head;
    uint32_t len;

    for (; fe_vq_used(&m->vq, &head, &len); n++) {
        CHECK_EQ(m->vq.chains[head].token, m->returned);
        CHECK_EQ(len, m->vq.index & 1 ? 0 : 112);
        m->returned++;
    }
    return n;
}

void
take_picture(const struct machine *m, struct picture *p)
{
    memset(p, 0, sizeof *p);
    if (m->vr.packed) {
        memcpy(p->ring, m->vq.ring, sizeof p->ring);
        p->event = *m->vq.device_event;
        memcpy(&p->record, m->record, sizeof p->record);
    } else {
        memcpy(p->used, m->vq.used, vring_split_used_len(MACHINE_SIZE, true));
    }
}

void
put_picture(struct machine *m, const struct picture *p)
{
    if (m->vr.packed) {
        memcpy(m->vq.ring, p->ring, sizeof p->ring);
        *m->vq.device_event = p->event;
        memcpy(m->record, &p->record, sizeof p->record);
    } else {
        memcpy(m->vq.used, p->used, vring_split_used_len(MACHINE_SIZE, true));
    }
}

unsigned int
machine_succeed(struct machine *m, bool looks)
{
    struct vhost_record_found found = { .pos = m->key.base };

    if (looks) {
        unsigned int n = machine_take(m);

        /* Sometimes all that came back is offered again at once. */
        for (unsigned int i = 0; i < n && m->vq.n_free; i++) {
            machine_offer(m, 1);
        }
    }
    if (!m->vr.packed) {
        found.pos = m->vr.used->idx;
    } else {
        if (!vhost_record_resume(m->record, &m->vr, &m->key, &found)) {
            vhost_record_start(m->record, &m->vr, &m->key, found.pos);
        }
        CHECK_EQ(atomic_load(&m->record->pending), 0);
    }
    go_to(m, found.pos);
    for (unsigned int i = 0; i < 3; i++) {
        machine_take(m);
        while (m->vq.n_free) {
            machine_offer(m, 1);
        }
        while (machine_begin(m, MACHINE_SIZE)) {
            machine_push(m);
        }
    }
    machine_take(m);
    CHECK_EQ(m->returned, m->offered);
    CHECK(!m->st.broken);
    return found.n_completed;
}

/* Waits for 'pid' to stop; returns the signal. */
static int
wait_stop(pid_t pid)
{
    int status;

    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSTOPPED(status));
    return WSTOPSIG(status);
}

pid_t
step_start(struct machine *m, void (*prepare)(struct machine *),
           void (*action)(struct machine *))
{
    pid_t pid = fork();

    CHECK_GE(pid, 0);
    if (!pid) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) {
            _exit(1);
        }
        if (prepare) {
            prepare(m);
        }
        raise(SIGSTOP);
        action(m);
        raise(SIGSTOP);
        _exit(0);
    }
    CHECK_EQ(wait_stop(pid), SIGSTOP);
    return pid;
}

bool
step(pid_t pid)
{
    CHECK_EQ(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
    return wait_stop(pid) != SIGSTOP;
}

void
step_kill(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

bool
may_trace(void)
{
    pid_t pid = fork();
    int status;

    if (!pid) {
        _exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) ? 1 : 0);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) && !WEXITSTATUS(status);
}

const struct scene scenes[] = {
    { "first burst, of one", 0, { 0 }, false, { 1 }, false },
    { "first burst, of three", 0, { 0 }, false, { 1, 1, 1 }, false },
    { "first burst, of chains", 0, { 0 }, false, { 2, 3, 1 }, false },
    { "first burst, the whole ring", 0, { 0 }, false,
      { 1, 1, 1, 1, 1, 1, 1, 1 }, false },
    { "later in the first lap", 0, { 1, 2 }, false, { 1, 2, 1 }, false },
    { "across the first lap's end", 0, { 1, 2, 3 }, false,
      { 1, 2, 1 }, false },
    { "up to the first lap's end", 0, { 1, 2, 3 }, false, { 1, 1 }, false },
    { "in the second lap", 0, { 4, 4 }, false, { 1, 1, 1 }, false },
    { "the second lap's first", 0, { 1, 1, 1, 1, 1, 1, 1, 1 }, true,
      { 1 }, false },
    { "after a chain over the ring", 0, { 8 }, false, { 1 }, false },
    { "after a chain over the ring, chains", 0, { 8 }, false,
      { 1, 2 }, false },
    { "up to the second lap's end", 8, { 1, 1, 1, 1, 1, 1 }, true,
      { 1, 1 }, false },
    { "across the second lap's end", 8, { 1, 1, 1, 1, 1, 1 }, true,
      { 1, 1, 1, 1 }, false },
    { "whole ring, second lap", 8, { 0 }, false,
      { 1, 1, 1, 1, 1, 1, 1, 1 }, false },
    { "from a base in the lap", 5, { 0 }, false, { 1, 1, 1, 1, 1 }, false },
    { "one long chain", 3, { 1 }, false, { 8 }, false },
    { "in tables", 0, { 3, 1 }, false, { 3, 1, 2, 4 }, true },
    { "in tables, across the end", 5, { 2 }, false, { 1, 8, 2, 1 },
      true },
};
const unsigned int n_scenes = N_ELEMS(scenes);

unsigned int
machine_play(struct machine *m, const struct scene *scene, unsigned int idx,
             struct vhost_crash_record *record)
{
    unsigned int n = 0;

    machine_init(m, idx, scene->position, record);
    m->indirect = scene->indirect;
    for (unsigned int i = 0; i < 8 && scene->before[i]; i++) {
        machine_offer(m, scene->before[i]);
        if (!scene->before_at_once) {
            CHECK_EQ(machine_begin(m, 1), 1);
            machine_push(m);
            machine_take(m);
        }
    }
    if (scene->before_at_once) {
        while (machine_begin(m, MACHINE_SIZE)) {
            machine_push(m);
        }
        machine_take(m);
    }
    for (; n < 8 && scene->chains[n]; n++) {
        machine_offer(m, scene->chains[n]);
    }
    CHECK_EQ(machine_begin(m, n), n);
    return n;
}
