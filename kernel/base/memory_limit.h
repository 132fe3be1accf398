/* What limits on this process leave of the machine's memory: those of its control groups and of `ulimit`. */
#ifndef BASE_MEMORY_LIMIT_H
#define BASE_MEMORY_LIMIT_H

#include <stdint.h>

/* Bytes that may still be used under the limits of the process's control groups and of all groups above them, version 2
 * or 1; what the kernel would give back of the groups' file cache counts as unused. UINT64_MAX: there is no limit.
 * `groups` is what /proc/self/cgroup is, `mount` what /sys/fs/cgroup is: a test brings its own. */
uint64_t memory_group_left(const char *groups, const char *mount);

/* The same for the limits of address space and of data (ulimit -v, ulimit -d). */
uint64_t memory_rlimit_left(void);

/* What the kernel thinks can be had without swapping, in bytes; UINT64_MAX: it does not say. */
uint64_t memory_machine_left(void);

#endif
