/* Arithmetic on numbers from files: right where the result fits, false and untouched where it does not. */
#include "base/checked.h"

#include <criterion/criterion.h>

__extension__ typedef unsigned __int128 wide;

static const uint64_t edges[] = {0,
                                 1,
                                 2,
                                 3,
                                 63,
                                 64,
                                 65,
                                 4095,
                                 UINT32_MAX,
                                 1ull << 32,
                                 (1ull << 32) + 1,
                                 INT64_MAX,
                                 1ull << 63,
                                 (1ull << 63) + 1,
                                 UINT64_MAX / 3,
                                 UINT64_MAX - 64,
                                 UINT64_MAX - 63,
                                 UINT64_MAX - 1,
                                 UINT64_MAX};
enum { N_EDGES = sizeof edges / sizeof *edges, UNTOUCHED = 12345 };

static void expect(bool got, uint64_t result, wide exact, const char *what, uint64_t a, uint64_t b)
{
    bool fits = exact <= UINT64_MAX;
    cr_expect_eq(got, fits, "%s(%llu, %llu)", what, (unsigned long long)a, (unsigned long long)b);
    cr_expect_eq(result, fits ? (uint64_t)exact : UNTOUCHED, "%s(%llu, %llu)", what, (unsigned long long)a,
                 (unsigned long long)b);
}

Test(checked, sums_and_products_of_all_edges_agree_with_128_bits)
{
    for (int i = 0; i < N_EDGES; i++)
        for (int j = 0; j < N_EDGES; j++) {
            uint64_t sum = UNTOUCHED, product = UNTOUCHED, a = edges[i], b = edges[j];
            bool has_sum = checked_add(&sum, a, b), has_product = checked_mul(&product, a, b);
            expect(has_sum, sum, (wide)a + b, "add", a, b);
            expect(has_product, product, (wide)a * b, "mul", a, b);
        }
}

Test(checked, align_rounds_up_or_says_that_it_cannot)
{
    for (int i = 0; i < N_EDGES; i++)
        for (unsigned shift = 0; shift < 64; shift++) {
            uint64_t result = UNTOUCHED, alignment = 1ull << shift;
            bool got = checked_align(&result, edges[i], alignment);
            expect(got, result, ((wide)edges[i] + alignment - 1) / alignment * alignment, "align", edges[i], alignment);
        }
}

Test(checked, the_result_may_be_an_operand)
{
    uint64_t a = 6;
    cr_expect(checked_mul(&a, a, 7));
    cr_expect(checked_add(&a, a, a));
    cr_expect(checked_align(&a, a, 64));
    cr_expect_eq(a, 128u);
}
