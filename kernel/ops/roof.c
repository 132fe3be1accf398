/* Owns the choice among the loops, and what machines do for which none is written. */
#include "ops/roof.h"

const struct roof_loop *roof_loop_choose(enum peak peak, uint64_t features)
{
    for (const struct roof_loop *loop = roof_loops; loop->run; loop++)
        if (loop->peak == peak && (features & loop->needs) == loop->needs) return loop;
    return NULL;
}

#if !defined(__x86_64__) && !defined(__aarch64__)
const struct roof_loop roof_loops[] = {{.run = NULL}};

void roof_read_range(const unsigned char *from, const unsigned char *to)
{
    for (const volatile uint64_t *p = (const void *)from; p < (const volatile uint64_t *)(const void *)to; p++)
        (void)*p;
}
#endif
