#include "sweep.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

bool sweep_is_full(void)
{
    const char *word = getenv("SLUICE_SWEEP");
    return word && strcmp(word, "full") == 0;
}

static uint64_t choose_seed(void)
{
    const char *word = getenv("SLUICE_SWEEP_SEED");
    if (word) return strtoull(word, NULL, 10);
    const time_t now = time(NULL);
    struct tm day;
    gmtime_r(&now, &day);
    return (uint64_t)(100 * (day.tm_year + 1900) + day.tm_mon + 1);
}

struct sweep sweep_begin(const char *title)
{
    struct sweep s = {.full = sweep_is_full(), .seed = choose_seed(), .title = title};
    uint64_t mixed = s.seed;
    for (const char *p = title; *p; p++) mixed = mixed * 1099511628211u + (unsigned char)*p;
    s.rng = rng_seed(mixed);
    if (!s.full) fprintf(stderr, "%s: requests that fail are chosen by seed %llu\n", title, (unsigned long long)s.seed);
    return s;
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

uint64_t *sweep_choose(struct sweep *s, uint64_t n_requests, size_t few, size_t *n)
{
    const uint64_t most = s->full ? SWEEP_MOST : few, third = most / 3;
    uint64_t *points = malloc((most + 1) * sizeof *points);
    *n = 0;
    if (!points) return NULL;
    for (uint64_t i = 0; i < n_requests && n_requests <= most; i++) points[(*n)++] = i + 1;
    if (n_requests <= most) return points;
    for (uint64_t i = 0; i < most; i++) {
        if (!s->full)
            points[i] = i == 0 ? 1 : i == 1 ? n_requests : 1 + rng_next(&s->rng) % n_requests;
        else if (i < third)
            points[i] = i + 1;
        else if (i < 2 * third)
            points[i] = third + (i - third) * (n_requests - 2 * third) / third + 1;
        else
            points[i] = n_requests - (most - 1 - i);
    }
    qsort(points, most, sizeof *points, compare);
    for (uint64_t i = 0; i < most; i++) /* once each */
        if (*n == 0 || points[i] != points[*n - 1]) points[(*n)++] = points[i];
    return points;
}

void sweep_show(struct sweep *s, const char *step, uint64_t n_requests, size_t i, size_t n)
{
    const bool last = i + 1 == n;
    s->n_failed++;
    if (!s->full) return;
    if (last)
        fprintf(stderr, "%s%s: %s: %llu requests, %zu failed once\n", isatty(2) ? "\r\033[K" : "", s->title, step,
                (unsigned long long)n_requests, n);
    else if (isatty(2) && i % 16 == 0)
        fprintf(stderr, "\r\033[K%s: %s: %zu of %zu", s->title, step, i, n);
}

size_t sweep_count_files(void)
{
    DIR *folder = opendir("/proc/self/fd");
    size_t n = 0;
    while (folder && readdir(folder)) n++;
    if (folder) closedir(folder);
    return n;
}
