#include "quant/dtype.h"

#include <string.h>
#include <strings.h>

/* Types that every engine of the field reads, as {name, elements, bytes, GGUF number, ...}. */
#define PLAIN(name, bytes, gguf)                        \
    {                                                   \
        name, 1, bytes, gguf, true, false, false, false \
    }
#define FLOAT(name, bytes, gguf)                     \
    {                                                \
        name, 1, bytes, gguf, true, true, true, true \
    }
#define BLOCK(name, elements, bytes, gguf, can_encode)              \
    {                                                               \
        name, elements, bytes, gguf, false, false, true, can_encode \
    }

static const struct dtype_info table[N_DTYPES] = {
    [DTYPE_F32] = FLOAT("F32", 4, 0),
    [DTYPE_F16] = FLOAT("F16", 2, 1),
    [DTYPE_BF16] = FLOAT("BF16", 2, 30),
    [DTYPE_Q4_0] = BLOCK("Q4_0", 32, 18, 2, true),
    [DTYPE_Q4_1] = BLOCK("Q4_1", 32, 20, 3, true),
    [DTYPE_Q5_0] = BLOCK("Q5_0", 32, 22, 6, true),
    [DTYPE_Q5_1] = BLOCK("Q5_1", 32, 24, 7, true),
    [DTYPE_Q8_0] = BLOCK("Q8_0", 32, 34, 8, true),
    [DTYPE_Q2_K] = BLOCK("Q2_K", 256, 84, 10, true),
    [DTYPE_Q3_K] = BLOCK("Q3_K", 256, 110, 11, true),
    [DTYPE_Q4_K] = BLOCK("Q4_K", 256, 144, 12, true),
    [DTYPE_Q5_K] = BLOCK("Q5_K", 256, 176, 13, true),
    [DTYPE_Q6_K] = BLOCK("Q6_K", 256, 210, 14, true),
    [DTYPE_IQ1_S] = BLOCK("IQ1_S", 256, 50, 19, false),
    [DTYPE_IQ1_M] = BLOCK("IQ1_M", 256, 56, 29, false),
    [DTYPE_IQ2_XXS] = BLOCK("IQ2_XXS", 256, 66, 16, false),
    [DTYPE_IQ2_XS] = BLOCK("IQ2_XS", 256, 74, 17, false),
    [DTYPE_IQ2_S] = BLOCK("IQ2_S", 256, 82, 22, false),
    [DTYPE_IQ3_XXS] = BLOCK("IQ3_XXS", 256, 98, 18, false),
    [DTYPE_IQ3_S] = BLOCK("IQ3_S", 256, 110, 21, false),
    [DTYPE_IQ4_NL] = BLOCK("IQ4_NL", 32, 18, 20, true),
    [DTYPE_IQ4_XS] = BLOCK("IQ4_XS", 256, 136, 23, true),
    [DTYPE_MXFP4] = BLOCK("MXFP4", 32, 17, 39, true),
    [DTYPE_F8_B128] = BLOCK("F8_E4M3 x 128", 128, 132, -1, false),
    [DTYPE_F64] = PLAIN("F64", 8, 28),
    [DTYPE_I8] = PLAIN("I8", 1, 24),
    [DTYPE_U8] = PLAIN("U8", 1, -1),
    [DTYPE_BOOL] = PLAIN("BOOL", 1, -1),
    [DTYPE_I16] = PLAIN("I16", 2, 25),
    [DTYPE_U16] = PLAIN("U16", 2, -1),
    [DTYPE_I32] = PLAIN("I32", 4, 26),
    [DTYPE_U32] = PLAIN("U32", 4, -1),
    [DTYPE_I64] = PLAIN("I64", 8, 27),
    [DTYPE_U64] = PLAIN("U64", 8, -1),
    [DTYPE_F8_E4M3] = PLAIN("F8_E4M3", 1, -1),
    [DTYPE_F8_E5M2] = PLAIN("F8_E5M2", 1, -1),
};

const struct dtype_info *dtype_info(enum dtype t) { return &table[t]; }

bool dtype_from_name(const char *name, size_t n, enum dtype *out)
{
    for (int t = 0; t < N_DTYPES; t++)
        if (table[t].in_safetensors && strlen(table[t].name) == n && memcmp(table[t].name, name, n) == 0) {
            *out = (enum dtype)t;
            return true;
        }
    return false;
}

bool dtype_from_word(const char *word, enum dtype *out)
{
    for (int t = 0; t < N_DTYPES; t++)
        if (table[t].is_weight && table[t].gguf_type >= 0 && strcasecmp(table[t].name, word) == 0) {
            *out = (enum dtype)t;
            return true;
        }
    return false;
}

bool dtype_from_gguf(uint32_t type, enum dtype *out, const char **name)
{
    /* Types of the format that exist and that Sluice does not read: intermediate results, repacked and newer ones. */
    static const struct {
        uint32_t type;
        const char *name;
    } others[] = {{9, "Q8_1"}, {15, "Q8_K"}, {34, "TQ1_0"}, {35, "TQ2_0"}, {40, "NVFP4"}};
    *name = NULL;
    for (int t = 0; t < N_DTYPES; t++)
        if (table[t].gguf_type >= 0 && (uint32_t)table[t].gguf_type == type) {
            *out = (enum dtype)t;
            *name = table[t].name;
            return true;
        }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (others[i].type == type) *name = others[i].name;
    return false;
}

enum dtype dtype_that_fits(enum dtype t, uint64_t k)
{
    while (t != N_DTYPES && k % (uint64_t)dtype_info(t)->elements_per_block != 0) {
        switch (t) {
        case DTYPE_Q2_K: t = DTYPE_Q4_0; break;
        case DTYPE_Q3_K:
        case DTYPE_IQ4_XS: t = DTYPE_IQ4_NL; break;
        case DTYPE_Q4_K: t = DTYPE_Q5_0; break;
        case DTYPE_Q5_K: t = DTYPE_Q5_1; break;
        case DTYPE_Q6_K: t = DTYPE_Q8_0; break;
        default: t = N_DTYPES; break;
        }
    }
    return t;
}
