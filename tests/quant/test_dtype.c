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
        cr_expect(info->elements_per_block >= 1 && info->elements_per_block <= DTYPE_MAX_BLOCK_ELEMENTS, "%s",
                  info->name);
        cr_expect(info->bytes_per_block >= 1 && info->bytes_per_block <= DTYPE_MAX_BLOCK_BYTES, "%s", info->name);
        cr_expect(info->is_weight || !info->can_encode, "%s", info->name);
        if (info->in_safetensors) cr_expect_eq(info->elements_per_block, 1, "%s", info->name);
    }
}

Test(dtype, sizes_and_uses_are_those_of_the_format)
{
    static const struct {
        const char *name;
        int elements;
        size_t bytes;
        int gguf_type;
        bool is_weight;
    } rows[] = {
        {"F32", 1, 4, 0, true},         {"F16", 1, 2, 1, true},        {"BF16", 1, 2, 30, true},
        {"Q4_0", 32, 18, 2, true},      {"Q4_1", 32, 20, 3, true},     {"Q5_0", 32, 22, 6, true},
        {"Q5_1", 32, 24, 7, true},      {"Q8_0", 32, 34, 8, true},     {"Q2_K", 256, 84, 10, true},
        {"Q3_K", 256, 110, 11, true},   {"Q4_K", 256, 144, 12, true},  {"Q5_K", 256, 176, 13, true},
        {"Q6_K", 256, 210, 14, true},   {"IQ1_S", 256, 50, 19, true},  {"IQ1_M", 256, 56, 29, true},
        {"IQ2_XXS", 256, 66, 16, true}, {"IQ2_XS", 256, 74, 17, true}, {"IQ2_S", 256, 82, 22, true},
        {"IQ3_XXS", 256, 98, 18, true}, {"IQ3_S", 256, 110, 21, true}, {"IQ4_NL", 32, 18, 20, true},
        {"IQ4_XS", 256, 136, 23, true}, {"MXFP4", 32, 17, 39, true},   {"F8_E4M3 x 128", 128, 132, -1, true},
        {"F64", 1, 8, 28, false},       {"I8", 1, 1, 24, false},       {"U8", 1, 1, -1, false},
        {"BOOL", 1, 1, -1, false},      {"I16", 1, 2, 25, false},      {"U16", 1, 2, -1, false},
        {"I32", 1, 4, 26, false},       {"U32", 1, 4, -1, false},      {"I64", 1, 8, 27, false},
        {"U64", 1, 8, -1, false},       {"F8_E4M3", 1, 1, -1, false},  {"F8_E5M2", 1, 1, -1, false},
    };
    cr_assert_eq(sizeof rows / sizeof *rows, (size_t)N_DTYPES);
    for (int t = 0; t < N_DTYPES; t++) {
        const struct dtype_info *info = dtype_info((enum dtype)t);
        cr_assert_str_eq(info->name, rows[t].name);
        cr_expect_eq(info->elements_per_block, rows[t].elements, "%s", info->name);
        cr_expect_eq(info->bytes_per_block, rows[t].bytes, "%s", info->name);
        cr_expect_eq(info->gguf_type, rows[t].gguf_type, "%s", info->name);
        cr_expect_eq(info->is_weight, rows[t].is_weight, "%s", info->name);
    }
}

Test(dtype, names_lead_back_to_their_type)
{
    for (int t = 0; t < N_DTYPES; t++) {
        const struct dtype_info *info = dtype_info((enum dtype)t);
        enum dtype back = N_DTYPES;
        const char *name = NULL;
        cr_expect_eq(dtype_from_name(info->name, strlen(info->name), &back), info->in_safetensors);
        if (info->in_safetensors) cr_expect_eq((int)back, t, "%s", info->name);
        if (info->gguf_type >= 0) {
            cr_expect(dtype_from_gguf((uint32_t)info->gguf_type, &back, &name), "%s", info->name);
            cr_expect_eq((int)back, t, "%s", info->name);
            cr_expect_str_eq(name, info->name);
        }
    }
}

Test(dtype, people_may_type_weight_types_in_any_case)
{
    enum dtype t;
    cr_expect(dtype_from_word("q4_k", &t) && t == DTYPE_Q4_K);
    cr_expect(dtype_from_word("Q8_0", &t) && t == DTYPE_Q8_0);
    cr_expect(dtype_from_word("bf16", &t) && t == DTYPE_BF16);
    static const char *const others[] = {"", "q4", "q4_k_m", "i32", "f8_e4m3", "F8_E4M3 x 128", "q4_k "};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        cr_expect(!dtype_from_word(others[i], &t), "%s", others[i]);
}

Test(dtype, unknown_gguf_types_are_refused_and_named_where_a_name_is_known)
{
    enum dtype t = DTYPE_I64;
    const char *name;
    static const uint32_t unknown[] = {4, 5, 36, 200, UINT32_MAX};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        cr_expect(!dtype_from_gguf(unknown[i], &t, &name) && name == NULL, "%u", unknown[i]);
    cr_expect(!dtype_from_gguf(34, &t, &name));
    cr_expect_str_eq(name, "TQ1_0");
    cr_expect_eq((int)t, (int)DTYPE_I64);
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

Test(dtype, a_type_gives_way_to_one_with_smaller_blocks)
{
    static const struct {
        enum dtype wanted;
        uint64_t k;
        enum dtype type;
    } rows[] = {
        {DTYPE_Q4_K, 512, DTYPE_Q4_K},     {DTYPE_Q4_K, 1408, DTYPE_Q5_0}, {DTYPE_Q6_K, 96, DTYPE_Q8_0},
        {DTYPE_Q5_K, 32, DTYPE_Q5_1},      {DTYPE_Q2_K, 32, DTYPE_Q4_0},   {DTYPE_Q3_K, 64, DTYPE_IQ4_NL},
        {DTYPE_IQ4_XS, 128, DTYPE_IQ4_NL}, {DTYPE_Q8_0, 32, DTYPE_Q8_0},   {DTYPE_Q8_0, 33, N_DTYPES},
        {DTYPE_Q4_K, 24, N_DTYPES},        {DTYPE_MXFP4, 16, N_DTYPES},    {DTYPE_BF16, 1, DTYPE_BF16},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_expect_eq((int)dtype_that_fits(rows[i].wanted, rows[i].k), (int)rows[i].type, "row %zu", i);
}
