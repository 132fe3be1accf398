/* UNROLL before a loop of a small constant count makes arrays of vec16 in its body into registers. */
#ifndef OPS_TMPL_UNROLL_H
#define OPS_TMPL_UNROLL_H

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* For the bodies of tiles: their sizes must be constants by the time the loops are unrolled. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

#endif
