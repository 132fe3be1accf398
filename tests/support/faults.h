/* Calls to the system that go wrong on purpose. Executables that CMakeLists.txt lists beside these names are linked so
 * that the library's and the program's calls go through here; all others know nothing of it. Calls from within the C
 * library are left alone. One thread arms and asks; any may call. */
#ifndef SUPPORT_FAULTS_H
#define SUPPORT_FAULTS_H

#include <stdbool.h>

enum fault_call {
    FAULT_OPEN, /* without O_CREAT, and not what the kernel says of itself below /proc and /sys */
    FAULT_CREATE,
    FAULT_STAT, /* lstat too */
    FAULT_FSTAT,
    FAULT_MMAP,   /* of files */
    FAULT_MEMORY, /* mmap of memory alone */
    FAULT_PREAD,
    FAULT_PWRITE,
    FAULT_FALLOCATE,
    FAULT_FTRUNCATE,
    FAULT_FSYNC,
    FAULT_RENAME, /* renameat2 too */
    FAULT_LINK,
    FAULT_CLOSE, /* closes nevertheless, as Linux does */
    N_FAULT_CALLS
};
extern const char *const fault_names[N_FAULT_CALLS];

/* What may happen besides an error, which is named by its errno. */
enum {
    FAULT_SHORT = -1, /* pread, pwrite: half of the bytes, at least one; this time and from then on */
    FAULT_CUT = -2,   /* mmap: the file then gets the size fault_cut_bytes. pread: it gets it before */
    FAULT_HOOK = -3,  /* fault_hook is called first, and the call then does what it does */
};
extern long fault_cut_bytes;
extern void (*fault_hook)(void);

/* Begins to count, and lets the nth call (1: the next) of this kind go wrong; 0: none. `error` as above. */
void fault_arm(enum fault_call call, unsigned nth, int error);
/* The same for all calls from the nth on. */
void fault_arm_all(enum fault_call call, unsigned nth, int error);
/* One more fault, for what is tried when the first way fails: every call of this kind. */
void fault_also(enum fault_call call, int error);
unsigned fault_count(enum fault_call call); /* calls since fault_arm */
bool fault_disarm(void);                    /* whether the first one has happened */

#endif
