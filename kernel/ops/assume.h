/* ASSUME(condition): a precondition of a kernel. Debug builds and tests check it, release builds take it as a hint;
 * kernels have no other error path. */
#ifndef OPS_ASSUME_H
#define OPS_ASSUME_H

#ifdef NDEBUG
#define ASSUME(condition)                          \
    do {                                           \
        if (!(condition)) __builtin_unreachable(); \
    } while (0)
#else
#include <assert.h>
#define ASSUME(condition) assert(condition)
#endif

#endif
