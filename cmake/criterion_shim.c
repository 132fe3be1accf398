/* Linked into test executables only, and only in the two configurations where Criterion cannot start its workers by
 * itself. Criterion runs every test in a fresh process: it executes its own binary again and maps a shared arena there
 * at the same address. Both functions below stand in front of the C library's, for Criterion and for the test.
 *
 *   SLUICE_SHIM_QEMU   the binary is foreign to the kernel (aarch64 under qemu-user), so executing it fails with
 *                      ENOEXEC; the shim then starts the emulator with it. The macro is the emulator's path, a string.
 *   SLUICE_SHIM_TSAN   ThreadSanitizer gives programs only three windows of the address space, and Criterion's arena
 *                      lies at a random place outside them; the shim steers the random number into the middle one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

#ifdef SLUICE_SHIM_QEMU
EXPORTED int execve(const char *path, char *const argv[], char *const envp[])
{
    syscall(SYS_execve, path, argv, envp); /* returns only on failure */
    if (errno != ENOEXEC) return -1;

    size_t n = 0;
    while (argv[n]) n++;
    char **foreign = malloc((n + 5) * sizeof *foreign);
    if (!foreign) return -1;
    char qemu[] = SLUICE_SHIM_QEMU, name[] = "-0";
    foreign[0] = qemu;
    foreign[1] = name; /* the next argument becomes argv[0] of the program */
    foreign[2] = argv[0];
    foreign[3] = (char *)path;
    memcpy(foreign + 4, argv + 1, n * sizeof *foreign); /* with the final null */
    syscall(SYS_execve, qemu, foreign, envp);           /* QEMU_LD_PREFIX and QEMU_CPU travel in envp */
    free(foreign);
    return -1;
}
#endif

#ifdef SLUICE_SHIM_TSAN
EXPORTED int rand_r(unsigned *seed)
{
    /* Criterion places its arena at 0x200000000000 + (rand_r() & 0x3fffff) * 16 MiB. Results between 0x350000 and
     * 0x367fff put it between 0x550000000000 and 0x568000000000, where executables live; a taken place is retried. */
    *seed = *seed * 1103515245u + 12345u;
    return (int)(0x350000 + (*seed >> 8) % 0x17000);
}
#endif
