/* Roofs, as bodies for the harness; the loops are those of the library (ops/roof.h). */
#include "bench/roof.h"

#include <omp.h>

#include "base/cpu.h"
#include "ops/roof.h"

enum { STEPS = 65536 };

static const struct roof_loop *loop_of(enum peak peak)
{
    const struct roof_loop *loop = roof_loop_choose(peak, cpu_features(NULL));
    return loop ? loop : roof_loop_choose(PEAK_F32, cpu_features(NULL));
}

const char *roof_fma_name(enum peak peak)
{
    const struct roof_loop *loop = roof_loop_choose(peak, cpu_features(NULL));
    return loop ? loop->name : NULL;
}

void roof_read(void *arg)
{
    const struct roof_read *r = arg;
    size_t pages = r->bytes / 4096;
#pragma omp parallel num_threads(r->threads)
    {
        size_t t = (size_t)omp_get_thread_num(), n = (size_t)omp_get_num_threads();
        size_t begin = pages * t / n, end = pages * (t + 1) / n;
        if (begin < end) roof_read_range(r->data + begin * 4096, r->data + end * 4096);
    }
}

void roof_fma(void *arg)
{
    const struct roof_fma *r = arg;
    const struct roof_loop *loop = loop_of(r->peak);
#pragma omp parallel num_threads(r->threads)
    loop->run(STEPS);
}

double roof_fma_flops(const struct roof_fma *r) { return loop_of(r->peak)->operations * STEPS * (double)r->threads; }
