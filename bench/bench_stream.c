/* What this machine can read per second, and its peak of fused multiply-adds on floats: the roofs of the rest. */
#include <stdio.h>

#include "bench/harness.h"
#include "bench/roof.h"

enum { READ_BYTES = 256 << 20 };

int main(int argc, char **argv)
{
    struct bench_options o = bench_options(argc, argv);
    struct roof_read read = {.data = bench_pages(READ_BYTES), .bytes = READ_BYTES, .threads = o.threads};
    struct roof_fma fma = {.threads = o.threads};
    char name[32];
    snprintf(name, sizeof name, "fma_f32_%s", roof_fma_name());
    bench_header();
    bench_run((struct bench_case){.variant = "read", .shape = "256 MiB", .threads = o.threads, .bytes = READ_BYTES,
                                  .body = roof_read, .arg = &read});
    bench_run((struct bench_case){.variant = name, .shape = "registers", .threads = o.threads,
                                  .flops = roof_fma_flops(&fma), .body = roof_fma, .arg = &fma});
    return 0;
}
