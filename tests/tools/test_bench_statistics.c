/* Tests of tools/bench_statistics.c. */
#include <criterion/criterion.h>

#include "tools/bench_statistics.h"

static struct quartiles of(size_t n, const double *values)
{
    struct bench_samples samples = {.count = n};
    for (size_t i = 0; i < n; i++) samples.values[i] = values[i];
    return quartiles_of(&samples);
}

Test(bench_statistics, quartiles_lie_between_samples)
{
    struct quartiles q = of(4, (double[]){4, 1, 3, 2});
    cr_expect_float_eq(q.median, 2.5, 1e-12);
    cr_expect_float_eq(q.q1, 1.75, 1e-12);
    cr_expect_float_eq(q.q3, 3.25, 1e-12);
    q = of(5, (double[]){50, 10, 30, 20, 40});
    cr_expect_float_eq(q.median, 30, 1e-12);
    cr_expect_float_eq(q.q1, 20, 1e-12);
    cr_expect_float_eq(q.q3, 40, 1e-12);
}

Test(bench_statistics, one_sample_is_its_own_median_and_none_is_zero)
{
    struct quartiles q = of(1, (double[]){7});
    cr_expect(q.median == 7 && q.q1 == 7 && q.q3 == 7);
    q = of(0, NULL);
    cr_expect(q.median == 0 && q.q1 == 0 && q.q3 == 0);
}

Test(bench_statistics, the_roof_is_the_slower_of_reading_and_multiplying)
{
    const sluice_roof roof = {.read_gb_per_s = 10, .int8_tops = 2, .bf16_tflops = 1, .f32_tflops = 0.5};
    struct bench_work work = {.bytes = 20e9};
    cr_expect_float_eq(bench_roof_seconds(&work, &roof), 2, 1e-9);
    work.operations[SLUICE_PEAK_INT8] = 4e12;
    work.operations[SLUICE_PEAK_BF16] = 1e12;
    work.operations[SLUICE_PEAK_F32] = 1e12;
    cr_expect_float_eq(bench_roof_seconds(&work, &roof), 2 + 1 + 2, 1e-9);
    work.operations[SLUICE_PEAK_F32] = work.operations[SLUICE_PEAK_BF16] = 0;
    work.bytes = 25e9;
    cr_expect_float_eq(bench_roof_seconds(&work, &roof), 2.5, 1e-9);
}

Test(bench_statistics, arithmetic_without_a_roof_counts_nothing)
{
    const sluice_roof roof = {.read_gb_per_s = 10}, nothing = {0};
    const struct bench_work work = {.bytes = 5e9, .operations = {1e15, 1e15, 1e15}};
    cr_expect_float_eq(bench_roof_seconds(&work, &roof), 0.5, 1e-9);
    cr_expect_eq(bench_roof_seconds(&work, &nothing), 0);
}

Test(bench_statistics, work_of_decode_leaves_prefill_out)
{
    const sluice_session_stats stats = {.prefill_tokens = 100,
                                        .decode_tokens = 3,
                                        .prefill_seconds = 2,
                                        .decode_seconds = 1,
                                        .prefill_bytes = 70,
                                        .decode_bytes = 30,
                                        .prefill_passes = 1,
                                        .decode_passes = 3,
                                        .experts_read = 6,
                                        .prefill_experts_read = 10,
                                        .prefill_expert_rows = 200,
                                        .prefill_operations = {1, 2, 3},
                                        .decode_wait_seconds = 0.25,
                                        .prefill_wait_seconds = 0.5};
    struct bench_work decode = {0}, both = {0};
    bench_work_add(&decode, &stats, false);
    cr_expect(decode.tokens == 3 && decode.seconds == 1 && decode.bytes == 30 && decode.passes == 3);
    cr_expect(decode.experts_read == 6 && decode.expert_rows == 6 && decode.wait_seconds == 0.25);
    cr_expect_eq(decode.operations[SLUICE_PEAK_INT8], 0);
    bench_work_add(&both, &stats, true);
    cr_expect(both.tokens == 103 && both.seconds == 3 && both.bytes == 100 && both.passes == 4);
    cr_expect(both.experts_read == 16 && both.expert_rows == 206 && both.wait_seconds == 0.75);
    cr_expect_eq(both.operations[SLUICE_PEAK_INT8], 3);
}

static void expect_cut(int64_t limit, bool cut, size_t n, const int64_t *expected)
{
    int64_t items[] = {0, 1024, 4096, 16384};
    size_t count = 4;
    cr_expect_eq(bench_cut_list(items, &count, limit), cut);
    cr_assert_eq(count, n);
    for (size_t i = 0; i < n; i++) cr_expect_eq(items[i], expected[i]);
}

Test(bench_statistics, a_list_is_cut_to_the_limit)
{
    expect_cut(16384, false, 4, (int64_t[]){0, 1024, 4096, 16384});
    expect_cut(5000, true, 4, (int64_t[]){0, 1024, 4096, 5000});
    expect_cut(1024, true, 2, (int64_t[]){0, 1024});
    expect_cut(0, true, 1, (int64_t[]){0});
    expect_cut(-1, true, 0, NULL);
}

Test(bench_statistics, the_geometric_mean_of_ratios_is_symmetric)
{
    cr_expect_float_eq(geometric_mean((double[]){2, 0.5}, 2), 1, 1e-12);
    cr_expect_float_eq(geometric_mean((double[]){3}, 1), 3, 1e-12);
    cr_expect_eq(geometric_mean(NULL, 0), 1);
}
