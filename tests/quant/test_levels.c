/* Levels, scales and offsets of blocks against their decoding to floats. */
#include "quant/levels.h"

#include <criterion/criterion.h>
#include <string.h>

#include "quant/codec.h"
#include "tests/support/compare.h"
#include "tests/support/rng.h"

/* Random bytes, and all bytes alike, which brings every level to its ends. */
Test(levels, scale_times_level_plus_offset_is_what_decoding_gives)
{
    enum { ROUNDS = 512 };
    for (int t = 0; t < N_DTYPES; t++) {
        const struct dtype_info *info = dtype_info((enum dtype)t);
        const struct levels_info levels = quant_levels_info((enum dtype)t);
        if (!levels.columns) continue;
        cr_assert(info->is_weight && info->elements_per_block % levels.columns == 0, "%s", info->name);
        struct rng rng = rng_seed((uint64_t)t);
        for (int round = 0; round < ROUNDS; round++) {
            unsigned char block[DTYPE_MAX_BLOCK_BYTES];
            float want[DTYPE_MAX_BLOCK_ELEMENTS], got[DTYPE_MAX_BLOCK_ELEMENTS];
            struct block_levels b;
            for (size_t i = 0; i < info->bytes_per_block; i++)
                block[i] = (unsigned char)(round < 256 ? (uint64_t)round : rng_next(&rng));
            quant_decode((enum dtype)t, want, block, (size_t)info->elements_per_block);
            quant_levels((enum dtype)t, &b, block);
            for (int i = 0; i < info->elements_per_block; i++) {
                const int sub = i / levels.columns;
                got[i] = b.scale[sub] * (float)b.level[i];
                if (levels.has_offset) got[i] += b.offset[sub];
            }
            ptrdiff_t at = first_difference(got, want, (size_t)info->elements_per_block);
            cr_assert_eq(at, -1, "%s round %d element %td", info->name, round, at);
        }
    }
}

Test(levels, formats_with_tables_of_whole_codewords_have_none)
{
    cr_expect_eq(quant_levels_info(DTYPE_F32).columns, 0);
    cr_expect_eq(quant_levels_info(DTYPE_IQ2_XXS).columns, 0);
    cr_expect_eq(quant_levels_info(DTYPE_Q6_K).columns, 16);
    cr_expect_eq(quant_levels_info(DTYPE_Q4_K).columns, 32);
    cr_expect(quant_levels_info(DTYPE_Q4_K).has_offset && !quant_levels_info(DTYPE_Q6_K).has_offset);
}
