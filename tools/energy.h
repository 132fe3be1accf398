/* Owns the machine's energy counters: RAPL (packages and memory) in /sys/class/powercap, or, where there are none,
 * those of sensors in /sys/class/hwmon. They count for the whole machine, other processes included. */
#ifndef TOOLS_ENERGY_H
#define TOOLS_ENERGY_H

#include <stddef.h>
#include <stdint.h>

enum { ENERGY_MAX_COUNTERS = 16 };

struct energy_counter {
    char name[32];  /* "package-0", "dram" */
    char path[320]; /* of the file with the microjoules */
    uint64_t range; /* the counter goes from here back to 0; 0: it does not, as far as one knows */
    uint64_t last;
    double joules; /* since energy_reset */
};

struct energy {
    struct energy_counter counters[ENERGY_MAX_COUNTERS];
    size_t n_counters; /* 0: there is nothing to read, because of */
    char reason[512];
};

/* Finds what can be read below `root`, "" but in tests, and resets it. */
void energy_open(struct energy *out, const char *root);
void energy_reset(struct energy *energy);
/* Adds what was used since the last call. To be called more often than counters wrap: every few minutes. */
void energy_update(struct energy *energy);
double energy_joules(const struct energy *energy); /* of all counters */

#endif
