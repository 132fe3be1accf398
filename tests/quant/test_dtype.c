/* The table of element types: total, consistent, and readable by name. */
#include "quant/dtype.h"

#include <criterion/criterion.h>
#include <string.h>

Test(dtype, every_type_has_a_row)
{
    for (int t = 0; t < N_DTYPES; t++) {
        const struct dtype_info *info = dtype_info((enum dtype)t);
        cr_assert_not_null(info);
        cr_assert_not_null(info->name, "type %d", t);
        cr_expect_eq(info->elements_per_block, 1, "%s", info->name);
        cr_expect(info->bytes_per_block == 1 || info->bytes_per_block == 2 || info->bytes_per_block == 4 ||
                      info->bytes_per_block == 8,
                  "%s", info->name);
    }
}

Test(dtype, sizes_and_uses_are_those_of_the_format)
{
    static const struct {
        const char *name;
        size_t bytes;
        bool is_weight;
    } rows[] = {
        {"F32", 4, true},  {"F16", 2, true},   {"BF16", 2, true}, {"F64", 8, false},     {"I8", 1, false},
        {"U8", 1, false},  {"BOOL", 1, false}, {"I16", 2, false}, {"U16", 2, false},     {"I32", 4, false},
        {"U32", 4, false}, {"I64", 8, false},  {"U64", 8, false}, {"F8_E4M3", 1, false}, {"F8_E5M2", 1, false},
    };
    cr_assert_eq(sizeof rows / sizeof *rows, (size_t)N_DTYPES);
    for (int i = 0; i < N_DTYPES; i++) {
        enum dtype t;
        cr_assert(dtype_from_name(rows[i].name, strlen(rows[i].name), &t), "%s", rows[i].name);
        cr_expect_eq(dtype_info(t)->bytes_per_block, rows[i].bytes, "%s", rows[i].name);
        cr_expect_eq(dtype_info(t)->is_weight, rows[i].is_weight, "%s", rows[i].name);
    }
}

Test(dtype, names_lead_back_to_their_type)
{
    for (int t = 0; t < N_DTYPES; t++) {
        const char *name = dtype_info((enum dtype)t)->name;
        enum dtype back = N_DTYPES;
        cr_expect(dtype_from_name(name, strlen(name), &back));
        cr_expect_eq((int)back, t, "%s", name);
    }
}

Test(dtype, only_the_first_n_bytes_of_a_name_count)
{
    enum dtype t = N_DTYPES;
    cr_expect(dtype_from_name("F32,more", 3, &t));
    cr_expect_eq((int)t, (int)DTYPE_F32);
}

Test(dtype, unknown_names_are_refused_and_leave_the_result)
{
    static const char *const names[] = {"", "F", "f32", "F322", "F3", " F32", "Q4", "F8", "F4", "BF1", "bool"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        enum dtype t = DTYPE_I64;
        cr_expect(!dtype_from_name(names[i], strlen(names[i]), &t), "%s", names[i]);
        cr_expect_eq((int)t, (int)DTYPE_I64);
    }
    enum dtype t;
    cr_expect(!dtype_from_name("F32", 4, &t), "the NUL is not part of a name");
}
