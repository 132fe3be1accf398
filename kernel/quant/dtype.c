#include "quant/dtype.h"

#include <string.h>

static const struct dtype_info table[N_DTYPES] = {
    [DTYPE_F32] = {"F32", 1, 4, true},          [DTYPE_F16] = {"F16", 1, 2, true},
    [DTYPE_BF16] = {"BF16", 1, 2, true},        [DTYPE_F64] = {"F64", 1, 8, false},
    [DTYPE_I8] = {"I8", 1, 1, false},           [DTYPE_U8] = {"U8", 1, 1, false},
    [DTYPE_BOOL] = {"BOOL", 1, 1, false},       [DTYPE_I16] = {"I16", 1, 2, false},
    [DTYPE_U16] = {"U16", 1, 2, false},         [DTYPE_I32] = {"I32", 1, 4, false},
    [DTYPE_U32] = {"U32", 1, 4, false},         [DTYPE_I64] = {"I64", 1, 8, false},
    [DTYPE_U64] = {"U64", 1, 8, false},         [DTYPE_F8_E4M3] = {"F8_E4M3", 1, 1, false},
    [DTYPE_F8_E5M2] = {"F8_E5M2", 1, 1, false},
};

const struct dtype_info *dtype_info(enum dtype t) { return &table[t]; }

bool dtype_from_name(const char *name, size_t n, enum dtype *out)
{
    for (int t = 0; t < N_DTYPES; t++)
        if (strlen(table[t].name) == n && memcmp(table[t].name, name, n) == 0) {
            *out = (enum dtype)t;
            return true;
        }
    return false;
}
