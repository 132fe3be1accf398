#include "energy.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first line of a file, without its end. False: errno says why. */
static bool read_line(const char *path, char *out, size_t cap)
{
    FILE *file = fopen(path, "re");
    if (!file) return false;
    errno = ENODATA;
    bool good = fgets(out, (int)cap, file) != NULL;
    int number = errno;
    fclose(file);
    if (good) out[strcspn(out, "\n")] = 0;
    errno = number;
    return good;
}

static bool read_number(const char *path, uint64_t *out)
{
    char text[64], *end;
    if (!read_line(path, text, sizeof text)) return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    if (errno == 0 && end != text && *end == 0 && text[0] != '-') return true;
    errno = EINVAL;
    return false;
}

/* Path of a file in one of the system's folders; false: too long, which no path of /sys is. */
static bool make_path(char *out, size_t cap, const char *folder, const char *item, const char *file)
{
    int n = snprintf(out, cap, "%s/%s/%s", folder, item, file);
    return n > 0 && (size_t)n < cap;
}

/* Takes a counter if it can be read now; else keeps the reason. */
static void add_counter(struct energy *e, const char *path, const char *name, uint64_t range)
{
    uint64_t now;
    if (e->n_counters == ENERGY_MAX_COUNTERS) return;
    if (!read_number(path, &now)) {
        if (!e->reason[0]) snprintf(e->reason, sizeof e->reason, "%.300s: %s", path, strerror(errno));
        return;
    }
    struct energy_counter *c = &e->counters[e->n_counters++];
    *c = (struct energy_counter){.range = range, .last = now};
    snprintf(c->name, sizeof c->name, "%s", name);
    snprintf(c->path, sizeof c->path, "%s", path);
}

/* Zones "intel-rapl:0" and so on (AMD's too), parts of them "intel-rapl:0:1". Cores are part of their package, and
 * "psys" has everything: so only packages and memory are added up. */
static void add_powercap(struct energy *e, const char *folder, const char *item)
{
    char path[320], name[32];
    uint64_t range = 0;
    if (strncmp(item, "intel-rapl:", strlen("intel-rapl:")) != 0) return;
    if (!make_path(path, sizeof path, folder, item, "name") || !read_line(path, name, sizeof name)) return;
    if (strncmp(name, "package", strlen("package")) != 0 && strcmp(name, "dram") != 0) return;
    if (!make_path(path, sizeof path, folder, item, "max_energy_range_uj") || !read_number(path, &range)) range = 0;
    if (make_path(path, sizeof path, folder, item, "energy_uj")) add_counter(e, path, name, range);
}

/* "energy1_input" and so on. Where sensors have labels, sockets are those to add up: cores are part of them. */
static void add_hwmon(struct energy *e, const char *folder, const char *item)
{
    for (int i = 1; i <= 256; i++) {
        char path[320], file[32], label[48];
        snprintf(file, sizeof file, "energy%d_label", i);
        bool labelled = make_path(path, sizeof path, folder, item, file) && read_line(path, label, sizeof label);
        snprintf(file, sizeof file, "energy%d_input", i);
        uint64_t value;
        if (!make_path(path, sizeof path, folder, item, file)) return;
        if (!read_number(path, &value) && errno == ENOENT) return;
        if (!labelled) snprintf(label, sizeof label, "%.15s energy%d", item, i);
        if (!labelled || strstr(label, "socket")) add_counter(e, path, label, 0);
    }
}

static void search(struct energy *e, const char *root, const char *name,
                   void (*add)(struct energy *e, const char *folder, const char *item))
{
    char folder[200];
    struct dirent **items;
    snprintf(folder, sizeof folder, "%s/sys/class/%s", root, name);
    int n = scandir(folder, &items, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        if (items[i]->d_name[0] != '.') add(e, folder, items[i]->d_name);
        free(items[i]);
    }
    if (n >= 0) free(items);
}

void energy_open(struct energy *out, const char *root)
{
    memset(out, 0, sizeof *out);
    search(out, root, "powercap", add_powercap);
    if (out->n_counters == 0) search(out, root, "hwmon", add_hwmon);
    if (out->n_counters == 0 && !out->reason[0])
        snprintf(out->reason, sizeof out->reason, "the system has no energy counter, neither RAPL nor hwmon");
    energy_reset(out);
}

void energy_reset(struct energy *e)
{
    energy_update(e);
    for (size_t i = 0; i < e->n_counters; i++) e->counters[i].joules = 0;
}

void energy_update(struct energy *e)
{
    for (size_t i = 0; i < e->n_counters; i++) {
        struct energy_counter *c = &e->counters[i];
        uint64_t now;
        if (!read_number(c->path, &now)) continue;
        if (now >= c->last)
            c->joules += 1e-6 * (double)(now - c->last);
        else if (c->range > c->last) /* it has wrapped; a counter without a known range was reset */
            c->joules += 1e-6 * ((double)(c->range - c->last) + (double)now);
        c->last = now;
    }
}

double energy_joules(const struct energy *e)
{
    double sum = 0;
    for (size_t i = 0; i < e->n_counters; i++) sum += e->counters[i].joules;
    return sum;
}
