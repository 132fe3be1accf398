/* Tests of engine/roof.c and of the loops in ops/roof.h. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "ops/roof.h"
#include "sluice/experimental.h"

Test(roof, every_loop_that_this_machine_can_run_comes_back)
{
    const uint64_t features = cpu_features(NULL);
    for (const struct roof_loop *loop = roof_loops; loop->run; loop++) {
        if (loop->needs & ~features) continue;
        loop->run(1);
        loop->run(1000);
        cr_expect_gt(loop->operations, 0, "%s", loop->name);
    }
}

Test(roof, the_best_loop_that_the_features_allow_is_chosen)
{
    for (int peak = 0; peak < N_PEAKS; peak++) {
        cr_expect_null(roof_loop_choose((enum peak)peak, 0));
        for (const struct roof_loop *loop = roof_loops; loop->run; loop++)
            if (loop->peak == (enum peak)peak)
                cr_expect_eq(roof_loop_choose((enum peak)peak, loop->needs), loop, "%s", loop->name);
    }
}

Test(roof, a_measurement_finds_bytes_and_names_what_multiplies)
{
    sluice_roof roof = {0};
    cr_assert_eq(sluice_measure_roof(1, &roof, NULL), SLUICE_OK);
    cr_expect_gt(roof.read_gb_per_s, 0);
    cr_expect_eq(roof.n_threads, 1);
    cr_expect(roof.cpu && *roof.cpu);
    cr_expect_eq(roof.int8_tops > 0, roof.int8_isa != NULL);
    cr_expect_eq(roof.bf16_tflops > 0, roof.bf16_isa != NULL);
    cr_expect_eq(roof.f32_tflops > 0, roof.f32_isa != NULL);
    if (roof_loop_choose(PEAK_F32, cpu_features(NULL))) cr_expect_gt(roof.f32_tflops, 0);
}

Test(roof, a_measurement_only_raises_what_is_there)
{
    setenv("SLUICE_CPU", "scalar", 1);
    sluice_roof roof = {.read_gb_per_s = 1e6, .f32_tflops = 3};
    cr_assert_eq(sluice_measure_roof(1, &roof, NULL), SLUICE_OK);
    cr_expect_eq(roof.read_gb_per_s, 1e6);
    cr_expect_eq(roof.f32_tflops, 3);
    cr_expect_null(roof.f32_isa);
}

Test(roof, a_number_of_threads_out_of_range_is_refused)
{
    sluice_roof roof = {0};
    sluice_error error;
    cr_expect_eq(sluice_measure_roof(-1, &roof, &error), SLUICE_ARGUMENT);
    cr_expect_str_eq(error.text, "threads: found -1, expected 0..256");
}
