/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * ring-bench's results, as a table for people and as JSON for programs: a
 * list, with an object for each comparison. */

#include <config.h>

#include "bench/bench.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>

#include "util.h"

#define UNIT "cycles/packet"
#define MAX_DISCARDED 0.2       /* Share of windows; more is no result. */

static FILE *json;              /* NULL: none wanted. */
static const char *separator = "[";

static const char *const step_names[N_STEPS] = {
    [STEP_ALLOC] = "alloc",
    [STEP_PEEK] = "peek",
    [STEP_READ] = "read",
    [STEP_COMPLETE] = "complete",
    [STEP_RESERVE] = "reserve",
    [STEP_WRITE] = "write",
    [STEP_COMMIT] = "commit",
    [STEP_FREE] = "free",
};

static const char *const reason_names[N_REASONS] = {
    [REASON_STEAL] = "steal",
    [REASON_DISTURBED] = "disturbed",
};

static const char *const part_names[N_PARTS] = {
    [PART_DEQUEUE] = "dequeue",
    [PART_ENQUEUE] = "enqueue",
    [PART_FREE] = "free",
    [PART_TOTAL] = "total",
};

/* JSON.  All strings are known to need no quoting. */

void
report_open(const char *name)
{
    if (name) {
        json = fopen(name, "w");
        if (!json) {
            ovs_fatal(errno, "%s", name);
        }
    }
}

void
report_close(void)
{
    if (json) {
        fprintf(json, "%s]\n", *separator == '[' ? "[" : "\n");
        if (fclose(json)) {
            ovs_fatal(errno, "cannot write the JSON file");
        }
        json = NULL;
    }
}

static void OVS_PRINTF_FORMAT(1, 2)
put(const char *format, ...)
{
    va_list args;

    if (json) {
        va_start(args, format);
        vfprintf(json, format, args);
        va_end(args);
    }
}

static void
put_value(double value)
{
    if (isfinite(value)) {
        put("%.3f", value);
    } else {
        put("null");
    }
}

void
report_number(const char *name, double value)
{
    put(", \"%s\": ", name);
    put_value(value);
}

void
report_count(const char *name, unsigned int n)
{
    put(", \"%s\": %u", name, n);
}

static void
put_object(const char *kind, const struct bench_case *c)
{
    char name[CASE_NAME_LEN];

    case_name(c, name);
    put("%s\n{\"case\": \"ring-%s-%s\", \"metric\": \"" UNIT "\", "
        "\"unit\": \"" UNIT "\"", separator, kind, name);
    separator = ",";
}

void
report_parts(const char *name, const struct series *s)
{
    const char *comma = "";

    put(", \"%s_parts\": {", name);
    for (unsigned int i = 0; i < N_PARTS; i++) {
        double value = quantile(s->parts[i], s->n, 0.25);

        if (!isnan(value)) {
            put("%s\"%s\": ", comma, part_names[i]);
            put_value(value);
            comma = ", ";
        }
    }
    put("}");
}

static void
put_reasons(const char *name, const struct series *s)
{
    put(", \"reasons_%s\": {", name);
    for (unsigned int i = 0; i < N_REASONS; i++) {
        put("%s\"%s\": %u", i ? ", " : "", reason_names[i], s->n_reasons[i]);
    }
    put("}");
}

void
report_end(void)
{
    put("}");
}

/* Comparisons. */

/* Quartiles. */
struct summary {
    double low, median, high;
};

static struct summary
summarize(const double *values, unsigned int n)
{
    return (struct summary) {
        quantile(values, n, 0.25),
        quantile(values, n, 0.5),
        quantile(values, n, 0.75),
    };
}

static double
spread(const struct summary *s)
{
    return (s->high - s->low) / s->median;
}

/* Of neighbouring windows. */
static struct summary
summarize_ratios(const struct comparison *c)
{
    double *ratios = xmalloc(c->a->n * sizeof *ratios);
    struct summary s;

    for (unsigned int i = 0; i < c->a->n; i++) {
        ratios[i] = c->values_a[i] / c->values_b[i];
    }
    s = summarize(ratios, c->a->n);
    free(ratios);
    return s;
}

static bool
cannot_tell(const struct comparison *c)
{
    unsigned int limit = MAX_DISCARDED * c->a->n;

    return c->a->n_discarded > limit || c->b->n_discarded > limit;
}

static void
put_side(const char *name, const struct summary *s)
{
    put(", \"%s_median\": ", name);
    put_value(s->median);
    put(", \"%s_spread\": ", name);
    put_value(spread(s));
}

void
report_begin(const char *kind, const struct bench_case *bc,
             const struct comparison *c)
{
    const char *verdict = cannot_tell(c) ? "cannot tell" : "measured";
    struct summary a = summarize(c->values_a, c->a->n);
    struct summary b = summarize(c->values_b, c->b->n);
    struct summary ratios = summarize_ratios(c);
    char name[CASE_NAME_LEN];

    case_name(bc, name);
    printf("  ring-%s-%s: %.1f / %.1f = %.3f (of pairs: median %.3f, "
           "spread %.1f %%)%s\n", kind, name, a.low, b.low, a.low / b.low,
           ratios.median, 100 * spread(&ratios),
           cannot_tell(c) ? " CANNOT TELL" : "");

    put_object(kind, bc);
    report_number("ours", a.low);
    report_number("stock", b.low);
    report_number("ratio", a.low / b.low);
    report_number("ratio_median", ratios.median);
    put(", \"windows\": %u, \"discarded\": {\"ours\": %u, \"stock\": %u}",
        c->a->n, c->a->n_discarded, c->b->n_discarded);
    report_number("spread", spread(&ratios));
    put(", \"verdict\": \"%s\"", verdict);
    put_side("ours", &a);
    put_side("stock", &b);
    put_reasons("ours", c->a);
    put_reasons("stock", c->b);
}

void
report_skipped(const struct bench_case *c, const char *side, uint64_t missing)
{
    char note[128];

    snprintf(note, sizeof note, "%s does not offer%s%s%s", side,
             missing & FE_F_PACKED ? " RING_PACKED" : "",
             missing & FE_F_IN_ORDER ? " IN_ORDER" : "",
             missing & ~(FE_F_PACKED | FE_F_IN_ORDER) ? " what is basic" : "");
    printf("  skipped: %s\n", note);
    put_object("bench", c);
    put(", \"verdict\": \"not offered\", \"note\": \"%s\"}", note);
}

/* The table. */

static void
print_value(double value)
{
    if (isnan(value)) {
        printf(" %8s", "-");
    } else {
        printf(" %8.1f", value);
    }
}

static void
print_discarded(const struct series *s)
{
    printf("  %u", s->n_discarded);
    for (unsigned int i = 0; i < N_REASONS; i++) {
        if (s->n_reasons[i]) {
            printf(" %s=%u", reason_names[i], s->n_reasons[i]);
        }
    }
    putchar('\n');
}

void
report_series(const struct series *all[], unsigned int n)
{
    printf("  %-10s %8s %8s %8s %8s %8s  discarded of %u\n", "", "dequeue",
           "enq+free", "(free)", "total", "median", n ? all[0]->n : 0);
    for (unsigned int i = 0; i < n; i++) {
        const struct series *s = all[i];

        printf("  %-10s", s->name);
        for (unsigned int p = 0; p < N_PARTS; p++) {
            print_value(quantile(s->parts[p], s->n, 0.25));
        }
        print_value(quantile(s->parts[PART_TOTAL], s->n, 0.5));
        print_discarded(s);
    }
}

/* Prints the steps 'first' to 'last' and what is left of 'part'. */
static void
print_steps(const struct series *ours, enum part part,
            const struct series *steps, enum step first, enum step last)
{
    double rest = quantile(ours->parts[part], ours->n, 0.25);

    printf("  %s %.1f =", part_names[part], rest);
    for (unsigned int i = first; i <= last; i++) {
        double value = quantile(steps->steps[i], steps->n, 0.25);

        printf(" %s %.1f +", step_names[i], value);
        rest -= value;
    }
    printf(" rest %.1f\n", rest);
}

void
report_steps(const struct series *ours, const struct series *steps)
{
    print_steps(ours, PART_DEQUEUE, steps, STEP_ALLOC, STEP_COMPLETE);
    print_steps(ours, PART_ENQUEUE, steps, STEP_RESERVE, STEP_FREE);
}
