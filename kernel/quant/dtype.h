/* Element types of tensors as files store them. */
#ifndef QUANT_DTYPE_H
#define QUANT_DTYPE_H

#include <stdbool.h>
#include <stddef.h>

enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    /* Known to files, not usable as weights: they may be read from archives (reference dumps, indices). */
    DTYPE_F64,
    DTYPE_I8,
    DTYPE_U8,
    DTYPE_BOOL,
    DTYPE_I16,
    DTYPE_U16,
    DTYPE_I32,
    DTYPE_U32,
    DTYPE_I64,
    DTYPE_U64,
    DTYPE_F8_E4M3,
    DTYPE_F8_E5M2,
    N_DTYPES
};

struct dtype_info {
    const char *name;         /* as safetensors spells it: "F32", "BF16" ... */
    int elements_per_block;   /* 1 for plain types */
    size_t bytes_per_block;
    bool is_weight;           /* a layout can pack it */
};

/* Total: every enum dtype has a row. */
const struct dtype_info *dtype_info(enum dtype t);
/* By safetensors name; false when unknown. */
bool dtype_from_name(const char *name, size_t n, enum dtype *out);

#endif
