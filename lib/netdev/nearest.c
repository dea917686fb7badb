/* SPDX-License-Identifier: Apache-2.0
 * Copyright (c) 2026 The ovs-vhost authors.
 *
 * Distances of names; see nearest.h.
 */

#include "nearest.h"

#include <ctype.h>
#include <string.h>

#define MAX_LEN 40

static char
normal(char c)
{
    return c == '_' ? '-' : tolower((unsigned char) c);
}

static int
min3(int a, int b, int c)
{
    int m = a < b ? a : b;

    return m < c ? m : c;
}

/* By the usual table: d[i][j] is the distance of the first i letters of 'a'
 * and the first j of 'b'. */
int
name_distance(const char *a, const char *b)
{
    size_t n = strlen(a);
    size_t m = strlen(b);
    int d[MAX_LEN + 1][MAX_LEN + 1];

    if (n > MAX_LEN || m > MAX_LEN) {
        return INT_MAX;
    }
    for (size_t i = 0; i <= n; i++) {
        for (size_t j = 0; j <= m; j++) {
            char x, y;

            if (!i || !j) {
                d[i][j] = i + j;
                continue;
            }
            x = normal(a[i - 1]);
            y = normal(b[j - 1]);
            d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1,
                           d[i - 1][j - 1] + (x != y));
            if (i > 1 && j > 1 && x == normal(b[j - 2])
                && y == normal(a[i - 2]) && d[i - 2][j - 2] + 1 < d[i][j]) {
                d[i][j] = d[i - 2][j - 2] + 1;
            }
        }
    }
    return d[n][m];
}

void
nearest_consider(struct nearest *best, const char *typed, const char *name)
{
    int distance = name_distance(typed, name);
    int limit = 1 + (int) strlen(name) / 5;

    if (distance <= limit && distance < best->distance) {
        best->name = name;
        best->distance = distance;
    }
}
