/* Owns reading the kernel's small files about memory. Reads them without a request for memory, so that shortage cannot
 * turn into "no limit is known". */
#include "base/memory_limit.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/memory.h"

enum { TEXT_BYTES = 16384 }; /* of /proc/self/cgroup and memory.stat, which have about 50 short lines */

/* The beginning of a small file as a string, and whether there is one. */
static bool read_small(const char *path, char text[TEXT_BYTES])
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    if (fd < 0) return false;
    for (ssize_t got; n < TEXT_BYTES - 1 && (got = read(fd, text + n, TEXT_BYTES - 1 - n)) > 0;) n += (size_t)got;
    close(fd);
    text[n] = 0;
    return n > 0;
}

/* The number at p; false for "max" and other words. One that is too large is as good as the largest. */
static bool number_at(const char *p, uint64_t *out)
{
    uint64_t v = 0;
    while (*p == ' ' || *p == '\t') p++;
    if (*p < '0' || *p > '9') return false;
    for (; *p >= '0' && *p <= '9'; p++)
        if (!checked_mul(&v, v, 10) || !checked_add(&v, v, (uint64_t)(*p - '0'))) v = UINT64_MAX;
    *out = v;
    return true;
}

/* The number after the line that begins with `key`; 0 if there is none. */
static uint64_t number_of(const char *text, const char *key)
{
    uint64_t v = 0;
    for (const char *line = text; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, key, strlen(key)) == 0 && number_at(line + strlen(key), &v)) return v;
    }
    return 0;
}

uint64_t memory_machine_left(void)
{
    char text[TEXT_BYTES];
    uint64_t bytes = 0;
    if (!read_small("/proc/meminfo", text)) return UINT64_MAX;
    return checked_mul(&bytes, number_of(text, "MemAvailable:"), 1024) && bytes ? bytes : UINT64_MAX;
}

/* ---- control groups ---------------------------------------------------------------------------------------------- */

struct version {
    const char *mount;     /* below the common one */
    const char *limits[2]; /* at the second one the kernel slows the group down until it gives memory back */
    const char *used;
    const char *cache[2]; /* lines of memory.stat: of the group and those below it */
};

static const struct version unified = {.mount = "",
                                       .limits = {"memory.max", "memory.high"},
                                       .used = "memory.current",
                                       .cache = {"inactive_file ", "active_file "}};
static const struct version legacy = {.mount = "/memory",
                                      .limits = {"memory.limit_in_bytes", NULL},
                                      .used = "memory.usage_in_bytes",
                                      .cache = {"total_inactive_file ", "total_active_file "}};

static bool read_in(const char *folder, const char *name, char text[TEXT_BYTES])
{
    char path[PATH_MAX + 64];
    const int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    return n > 0 && (size_t)n < sizeof path && read_small(path, text);
}

static uint64_t group_left(const char *folder, const struct version *v)
{
    char text[TEXT_BYTES];
    uint64_t limit = UINT64_MAX, one, used = 0;
    for (int i = 0; i < 2; i++)
        if (v->limits[i] && read_in(folder, v->limits[i], text) && number_at(text, &one) && one < limit) limit = one;
    if (limit == UINT64_MAX) return limit;
    if (read_in(folder, v->used, text)) number_at(text, &used);
    for (int i = 0; i < 2; i++) {
        const uint64_t cache = read_in(folder, "memory.stat", text) ? number_of(text, v->cache[i]) : 0;
        used -= cache < used ? cache : used;
    }
    return limit > used ? limit - used : 0;
}

/* The group at `path` and all above it. A level that cannot be seen (a container sees its own group as the root, and
 * may be told the path outside) has no limit that could be read. */
static uint64_t groups_left(const char *mount, const char *path, size_t n, const struct version *v)
{
    char folder[PATH_MAX];
    const size_t root = strlen(mount) + strlen(v->mount);
    uint64_t left = UINT64_MAX;
    if (root + n >= sizeof folder) return left;
    snprintf(folder, sizeof folder, "%s%s%.*s", mount, v->mount, (int)n, path);
    if (strstr(folder + root, "/..")) folder[root] = 0; /* outside of what this process may see */
    for (;;) {
        const uint64_t here = group_left(folder, v);
        if (here < left) left = here;
        if (strlen(folder) <= root) return left;
        *strrchr(folder, '/') = 0;
    }
}

/* Whether "cpu,memory" has the word "memory". */
static bool has_memory(const char *list, const char *end)
{
    static const char word[] = "memory";
    const size_t n = sizeof word - 1;
    while ((size_t)(end - list) >= n) {
        if (strncmp(list, word, n) == 0 && (list[n] == ',' || list + n == end)) return true;
        const char *comma = memchr(list, ',', (size_t)(end - list));
        if (!comma) return false;
        list = comma + 1;
    }
    return false;
}

/* Lines "0::/PATH" for version 2 and "4:memory:/PATH" for version 1. */
uint64_t memory_group_left(const char *groups, const char *mount)
{
    char text[TEXT_BYTES];
    uint64_t left = UINT64_MAX;
    if (!read_small(groups, text)) return left;
    for (char *line = text, *end; *line; line = *end ? end + 1 : end) {
        end = strchrnul(line, '\n');
        char *list = memchr(line, ':', (size_t)(end - line));
        char *path = list ? memchr(list + 1, ':', (size_t)(end - list - 1)) : NULL;
        if (!path || path + 1 == end || path[1] != '/') continue;
        const struct version *v = list + 1 == path ? &unified : has_memory(list + 1, path) ? &legacy : NULL;
        const char *begin = path + 1;
        const size_t n = end - begin == 1 ? 0 : (size_t)(end - begin); /* "/" is the root itself */
        const uint64_t here = v ? groups_left(mount, begin, n, v) : UINT64_MAX;
        if (here < left) left = here;
    }
    return left;
}

/* ---- ulimit ------------------------------------------------------------------------------------------------------ */

uint64_t memory_rlimit_left(void)
{
    char text[TEXT_BYTES];
    unsigned long long pages[6] = {0}; /* size, resident, shared, text, 0, data and stack */
    uint64_t left = UINT64_MAX;
    struct rlimit limits[2] = {{RLIM_INFINITY, RLIM_INFINITY}, {RLIM_INFINITY, RLIM_INFINITY}};
    static const int field[2] = {0, 5};
    getrlimit(RLIMIT_AS, &limits[0]);
    getrlimit(RLIMIT_DATA, &limits[1]);
    for (int i = 0; i < 2; i++) {
        if (limits[i].rlim_cur == RLIM_INFINITY) continue;
        if (read_small("/proc/self/statm", text))
            sscanf(text, "%llu %llu %llu %llu %llu %llu", &pages[0], &pages[1], &pages[2], &pages[3], &pages[4],
                   &pages[5]);
        const uint64_t used = pages[field[i]] * memory_page_bytes();
        const uint64_t here = limits[i].rlim_cur > used ? limits[i].rlim_cur - used : 0;
        if (here < left) left = here;
    }
    return left;
}
