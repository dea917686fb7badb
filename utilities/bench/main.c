/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * ring-bench: the command line, and the thread that all runs in, which is to
 * the netdev and to DPDK what a PMD thread of the switch is.  See bench.h. */

#include <config.h>

#include "bench/bench.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dpdk.h"
#include "guest/fail.h"
#include "netdev/netdev-vhost.h"
#include "openvswitch/vlog.h"
#include "ovs-numa.h"
#include "ovs-rcu.h"
#include "ovs-thread.h"
#include "smap.h"
#include "util.h"

#define MAX_CASES 256
#define MAX_WINDOW 0.001        /* Seconds.  Longer ones rarely stay
                                 * undisturbed beside other work. */
#define MIN_WINDOW 0.0003
#define N_TURNS 5               /* Sides that are measured in turn. */

static const char usage_text[] = "\
ring-bench: what a packet costs between a guest's rings and the switch, by\n\
this project's netdev and by librte_vhost, in one process, hot in cache\n\
\n\
  --size=N[,N...]   frames of these sizes, with all kinds of rings (64,1518)\n\
  --case=NAME[,...] these cases only: SIZE[-packed][-nomrg][-inorder], and\n\
                    [-chain] or [-indirect] for frames that have two\n\
                    descriptors or a table of them\n\
  --windows=N       windows of each side and case (200)\n\
  --seconds=S       make windows shorter, so that all takes about S at most\n\
                    on a quiet machine (45)\n\
  --cpu=N           CPU to measure on (the last one)\n\
  --json=FILE       write the results there, too\n\
  --breakdown       say what the steps of our receiving and sending cost\n\
  --only=SIDE       run nothing but ours, stock, bare, bare+copy, copy or\n\
                    steps, for a profiler\n\
  --dpdk-extra=ARGS options of DPDK's EAL\n\
  -v, --verbose     show the log of Open vSwitch and DPDK\n\
  -h, --help        show this\n\
\n\
Figures are cycles (TSC) per packet: lower quartiles over the windows, and\n\
the median.  \"enq+free\" is sending with what it takes to free the packets,\n\
which in ours is one call; \"(free)\" is freeing measured by itself.\n";

static struct bench_case cases[MAX_CASES];
static unsigned int n_cases;
static struct run_options run;
static double seconds = 45;

/* The front end's failures are all fatal. */
void
fe_failed(const char *file, int line, const char *format, ...)
{
    va_list args;

    fflush(stdout);
    fprintf(stderr, "ring-bench: %s: %s:%d: ",
            current_side ? current_side : "no side", file, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

/* Cases. */

static void
add_case(const struct bench_case *c)
{
    if (n_cases == MAX_CASES) {
        ovs_fatal(0, "too many cases");
    }
    cases[n_cases++] = *c;
}

static void
add_named_case(char *name)
{
    struct bench_case c;

    if (!case_parse(name, &c)) {
        ovs_fatal(0, "%s: not a case (try --help)", name);
    }
    add_case(&c);
}

/* Adds all kinds of rings. */
static void
add_size(char *text)
{
    struct bench_case c;

    if (!isdigit((unsigned char) text[0]) || !case_parse(text, &c)
        || text[strspn(text, "0123456789")]) {
        ovs_fatal(0, "%s: not a frame's size (60 to 9018)", text);
    }
    for (unsigned int i = 0; i < 8; i++) {
        c.packed = (i & 4) != 0;
        c.mergeable = !(i & 2);
        c.in_order = (i & 1) != 0;
        add_case(&c);
    }
}

static void
for_each_word(char *list, void (*cb)(char *))
{
    char *save = NULL;

    for (char *word = strtok_r(list, ",", &save); word;
         word = strtok_r(NULL, ",", &save)) {
        cb(word);
    }
}

/* Options. */

static double
number(const char *text, double min, double max)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end || !(value >= min && value <= max)) {
        ovs_fatal(0, "%s: not a number from %g to %g", text, min, max);
    }
    return value;
}

static const char *
side_name(const char *name)
{
    if (!is_side_name(name)) {
        ovs_fatal(0, "%s: not a side (try --help)", name);
    }
    return name;
}

struct setup {
    const char *json;
    const char *dpdk_extra;
    bool verbose;
};

enum { OPT_SIZE = 256, OPT_CASE, OPT_WINDOWS, OPT_SECONDS, OPT_CPU, OPT_JSON,
       OPT_BREAKDOWN, OPT_ONLY, OPT_DPDK_EXTRA };

static void
take_option(int c, struct setup *setup)
{
    switch (c) {
    case OPT_SIZE: for_each_word(optarg, add_size); break;
    case OPT_CASE: for_each_word(optarg, add_named_case); break;
    case OPT_WINDOWS: run.windows.n = number(optarg, 1, 100000); break;
    case OPT_SECONDS: seconds = number(optarg, 0.001, 86400); break;
    case OPT_CPU: run.windows.cpu = number(optarg, 0, CPU_SETSIZE - 1); break;
    case OPT_JSON: setup->json = optarg; break;
    case OPT_BREAKDOWN: run.breakdown = true; break;
    case OPT_ONLY: run.only = side_name(optarg); break;
    case OPT_DPDK_EXTRA: setup->dpdk_extra = optarg; break;
    case 'v': setup->verbose = true; break;
    case 'h': fputs(usage_text, stdout); exit(0);
    default: exit(1);
    }
}

static void
parse_options(int argc, char *argv[], struct setup *setup)
{
    static const struct option options[] = {
        { "size", required_argument, NULL, OPT_SIZE },
        { "case", required_argument, NULL, OPT_CASE },
        { "windows", required_argument, NULL, OPT_WINDOWS },
        { "seconds", required_argument, NULL, OPT_SECONDS },
        { "cpu", required_argument, NULL, OPT_CPU },
        { "json", required_argument, NULL, OPT_JSON },
        { "breakdown", no_argument, NULL, OPT_BREAKDOWN },
        { "only", required_argument, NULL, OPT_ONLY },
        { "dpdk-extra", required_argument, NULL, OPT_DPDK_EXTRA },
        { "verbose", no_argument, NULL, 'v' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    char default_sizes[] = "64,1518";
    int c;

    run.windows.n = 200;
    run.windows.cpu = sysconf(_SC_NPROCESSORS_ONLN) - 1;
    while ((c = getopt_long(argc, argv, "vh", options, NULL)) != -1) {
        take_option(c, setup);
    }
    if (optind < argc) {
        ovs_fatal(0, "%s: unexpected argument (try --help)", argv[optind]);
    }
    if (!n_cases) {
        for_each_word(default_sizes, add_size);
    }
    run.windows.length = seconds / n_cases / run.windows.n / N_TURNS;
    run.windows.length = MAX(MIN_WINDOW, MIN(MAX_WINDOW, run.windows.length));
}

/* Running. */

static void
init_dpdk(const char *extra)
{
    struct smap config = SMAP_INITIALIZER(&config);

    smap_add(&config, "dpdk-init", "true");
    smap_add(&config, "dpdk-extra", extra);
    netdev_vhost_configure(&config);
    dpdk_init(&config);
    smap_destroy(&config);
}

static void *
bench_main(void *aux OVS_UNUSED)
{
    pin(run.windows.cpu);
    calibrate();
    pin(-1);
    if (!dpdk_attach_thread(run.windows.cpu)) {
        ovs_fatal(0, "DPDK has no lcore for this thread");
    }
    printf("CPU %d, windows of %.1f ms, %u for each side; a time stamp costs "
           "%"PRIu64" cycles, which are subtracted\n", run.windows.cpu,
           run.windows.length * 1e3, run.windows.n, tsc_cost);
    for (unsigned int i = 0; i < n_cases; i++) {
        run_case(&cases[i], &run);
    }
    dpdk_detach_thread();
    return NULL;
}

static char dir[] = "/tmp/ring-bench.XXXXXX";

static void
remove_dir(void)
{
    static const char *const names[] = { "ours", "stock", "bare" };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char path[64];

        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

int
main(int argc, char *argv[])
{
    struct setup setup = {
        .dpdk_extra = "--no-pci --no-huge --no-shconf --legacy-mem "
                      "-m 512 --no-telemetry",
    };
    pthread_t thread;

    set_program_name(argv[0]);
    parse_options(argc, argv, &setup);
    vlog_set_levels(NULL, VLF_ANY_DESTINATION,
                    setup.verbose ? VLL_INFO : VLL_WARN);
    if (!mkdtemp(dir)) {
        ovs_fatal(errno, "%s", dir);
    }
    atexit(remove_dir);
    run.dir = dir;
    report_open(setup.json);

    ovs_numa_init();
    init_dpdk(setup.dpdk_extra);
    if (netdev_vhost_register()) {
        ovs_fatal(0, "cannot register the netdev classes");
    }
    thread = ovs_thread_create("pmd-bench", bench_main, NULL);
    ovsrcu_quiesce_start();
    xpthread_join(thread, NULL);
    report_close();
    return 0;
}
