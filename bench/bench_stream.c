/* What this machine can read per second, and the peaks of its kinds of arithmetic: the roofs of the rest. */
#include <stdio.h>

#include "bench/harness.h"
#include "bench/roof.h"

enum { READ_BYTES = 256 << 20 };

int main(int argc, char **argv)
{
    struct bench_options o = bench_options(argc, argv);
    struct roof_read read = {.data = bench_pages(READ_BYTES), .bytes = READ_BYTES, .threads = o.threads};
    bench_header();
    bench_run((struct bench_case){.variant = "read",
                                  .shape = "256 MiB",
                                  .threads = o.threads,
                                  .bytes = READ_BYTES,
                                  .body = roof_read,
                                  .arg = &read});
    static const char *const kinds[N_PEAKS] = {[PEAK_F32] = "f32", [PEAK_BF16] = "bf16", [PEAK_INT8] = "int8"};
    for (int p = 0; p < N_PEAKS; p++) {
        struct roof_fma fma = {.threads = o.threads, .peak = (enum peak)p};
        char name[64];
        if (!roof_fma_name(fma.peak)) continue;
        snprintf(name, sizeof name, "fma_%s_%s", kinds[p], roof_fma_name(fma.peak));
        bench_run((struct bench_case){.variant = name,
                                      .shape = "registers",
                                      .threads = o.threads,
                                      .flops = roof_fma_flops(&fma),
                                      .body = roof_fma,
                                      .arg = &fma});
    }
    return 0;
}
