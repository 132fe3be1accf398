/* Owns the ladder (SLUICE_CPU) and the questions every system answers alike; cpu_x86.c and cpu_arm.c own the bits. */
#include "base/cpu.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cpu_detect.h"

static const char *const names[N_CPU_FEATURES] = {
#define X(name, key) [CPU_BIT_##name] = key,
    CPU_FEATURE_LIST(X)
#undef X
};

const char *cpu_feature_name(unsigned bit) { return bit < N_CPU_FEATURES ? names[bit] : NULL; }

uint64_t cpu_features(const char **unknown)
{
    uint64_t features = cpu_detect_features();
    const char *bound = getenv("SLUICE_CPU");
    if (unknown) *unknown = NULL;
    if (!bound || !*bound) return features;
    if (strcmp(bound, "scalar") == 0) return 0;
    for (unsigned bit = 0; bit < N_CPU_FEATURES; bit++)
        if (strcmp(bound, names[bit]) == 0) return features & ((UINT64_C(2) << bit) - 1);
    if (unknown) *unknown = bound;
    return features;
}

/* CPUs granted by a cgroup quota, rounded up; INT32_MAX when there is none. */
static int quota_cpus(void)
{
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    long long quota, period;
    int n = INT32_MAX;
    if (!file) return n;
    if (fscanf(file, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0 && quota / period < 4096)
        n = (int)((quota + period - 1) / period);
    fclose(file);
    return n;
}

int cpu_count(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    int quota = quota_cpus();
    if (n > quota) n = quota;
    return n < 1 ? 1 : n;
}

uint64_t cpu_cache_bytes(void)
{
    long bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (bytes <= 0) bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return bytes > 0 ? (uint64_t)bytes : 0;
}

static char model_name[128];
static pthread_once_t model_name_once = PTHREAD_ONCE_INIT;

static void read_model_name(void)
{
    snprintf(model_name, sizeof model_name, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (!file) return;
    char line[256];
    while (fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        colon[strcspn(colon, "\n")] = 0;
        snprintf(model_name, sizeof model_name, "%.120s", colon + 1 + strspn(colon + 1, " \t"));
        break;
    }
    fclose(file);
}

const char *cpu_model_name(void)
{
    pthread_once(&model_name_once, read_model_name);
    return model_name;
}
