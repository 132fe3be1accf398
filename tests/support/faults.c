/* Owns the functions that the linker puts before those of the C library: --wrap=open makes of every call of open one of
 * __wrap_open, and the C library's is __real_open. */
#include "tests/support/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const fault_names[N_FAULT_CALLS] = {"open",           "create", "stat",   "fstat",     "mmap",
                                                "mmap of memory", "pread",  "pwrite", "fallocate", "ftruncate",
                                                "fsync",          "rename", "link",   "close"};
long fault_cut_bytes;
void (*fault_hook)(void);

static atomic_uint counts[N_FAULT_CALLS];
static atomic_bool happened;
static enum fault_call first_call;
static unsigned first_nth;
static bool first_all;
static int first_error, other_errors[N_FAULT_CALLS];

static void arm(enum fault_call call, unsigned nth, int error, bool all)
{
    fault_disarm();
    for (int i = 0; i < N_FAULT_CALLS; i++) atomic_store(&counts[i], 0);
    atomic_store(&happened, false);
    first_call = call;
    first_error = error;
    first_all = all;
    first_nth = nth;
}

void fault_arm(enum fault_call call, unsigned nth, int error) { arm(call, nth, error, error == FAULT_SHORT); }
void fault_arm_all(enum fault_call call, unsigned nth, int error) { arm(call, nth, error, true); }

void fault_also(enum fault_call call, int error) { other_errors[call] = error; }

unsigned fault_count(enum fault_call call) { return atomic_load(&counts[call]); }

bool fault_disarm(void)
{
    first_nth = 0;
    for (int i = 0; i < N_FAULT_CALLS; i++) other_errors[i] = 0;
    return atomic_load(&happened);
}

/* What this call is to do: 0, an errno, or FAULT_... */
static int next(enum fault_call call)
{
    const unsigned n = atomic_fetch_add(&counts[call], 1) + 1;
    if (first_nth && call == first_call && (n == first_nth || (first_all && n > first_nth))) {
        atomic_store(&happened, true);
        if (first_error != FAULT_HOOK) return first_error;
        fault_hook();
        return 0;
    }
    return other_errors[call];
}

static int fails(enum fault_call call)
{
    const int error = next(call);
    if (error) errno = error;
    return error;
}

/* ---- the calls --------------------------------------------------------------------------------------------------- */

#define EXPORTED __attribute__((visibility("default")))
#define WRAPPED(type, name, ...)              \
    type __real_##name(__VA_ARGS__);          \
    EXPORTED type __wrap_##name(__VA_ARGS__); \
    type __wrap_##name(__VA_ARGS__)

int __real_open(const char *path, int flags, ...);
EXPORTED int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    const unsigned mode = flags & O_CREAT ? va_arg(args, unsigned) : 0;
    va_end(args);
    if (strncmp(path, "/proc/", 6) == 0 || strncmp(path, "/sys/", 5) == 0) return __real_open(path, flags, mode);
    return fails(flags & O_CREAT ? FAULT_CREATE : FAULT_OPEN) ? -1 : __real_open(path, flags, mode);
}

WRAPPED(int, stat, const char *path, struct stat *s) { return fails(FAULT_STAT) ? -1 : __real_stat(path, s); }
WRAPPED(int, lstat, const char *path, struct stat *s) { return fails(FAULT_STAT) ? -1 : __real_lstat(path, s); }
WRAPPED(int, fstat, int fd, struct stat *s) { return fails(FAULT_FSTAT) ? -1 : __real_fstat(fd, s); }

/* The descriptor may be open for reading only. */
static void cut(int fd)
{
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    if (truncate(name, fault_cut_bytes) != 0) perror("faults: truncate");
}

WRAPPED(void *, mmap, void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    const int error = next(fd >= 0 ? FAULT_MMAP : FAULT_MEMORY);
    if (error > 0) {
        errno = error;
        return MAP_FAILED;
    }
    void *p = __real_mmap(at, n, protection, flags, fd, offset);
    if (error == FAULT_CUT) cut(fd);
    return p;
}

WRAPPED(ssize_t, pread, int fd, void *to, size_t n, off_t at)
{
    const int error = next(FAULT_PREAD);
    if (error > 0) {
        errno = error;
        return -1;
    }
    if (error == FAULT_CUT) cut(fd);
    return __real_pread(fd, to, error == FAULT_SHORT && n > 1 ? n / 2 : n, at);
}

WRAPPED(ssize_t, pwrite, int fd, const void *from, size_t n, off_t at)
{
    const int error = next(FAULT_PWRITE);
    if (error > 0) {
        errno = error;
        return -1;
    }
    return __real_pwrite(fd, from, error == FAULT_SHORT && n > 1 ? n / 2 : n, at);
}

WRAPPED(int, fallocate, int fd, int mode, off_t at, off_t n)
{
    return fails(FAULT_FALLOCATE) ? -1 : __real_fallocate(fd, mode, at, n);
}

WRAPPED(int, ftruncate, int fd, off_t n) { return fails(FAULT_FTRUNCATE) ? -1 : __real_ftruncate(fd, n); }

WRAPPED(int, fsync, int fd) { return fails(FAULT_FSYNC) ? -1 : __real_fsync(fd); }

WRAPPED(int, rename, const char *from, const char *to) { return fails(FAULT_RENAME) ? -1 : __real_rename(from, to); }
WRAPPED(int, renameat2, int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    return fails(FAULT_RENAME) ? -1 : __real_renameat2(from_folder, from, to_folder, to, flags);
}
WRAPPED(int, link, const char *from, const char *to) { return fails(FAULT_LINK) ? -1 : __real_link(from, to); }

WRAPPED(int, close, int fd)
{
    const int error = next(FAULT_CLOSE), result = __real_close(fd);
    if (!error) return result;
    errno = error;
    return -1;
}
