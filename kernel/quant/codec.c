/* Decoding of rows of any type, by a table with one function per type. The formats are in decode.h. */
#include "quant/codec.h"

#include <string.h>

#include "quant/decode.h"

typedef void decode_row(float *restrict y, const void *restrict blocks, size_t n);

static void decode_row_f32(float *restrict y, const void *restrict blocks, size_t n)
{
    memcpy(y, blocks, n * sizeof *y);
}

static void decode_row_f16(float *restrict y, const void *restrict blocks, size_t n)
{
    const unsigned char *at = blocks; /* maybe at an odd address */
    for (size_t i = 0; i < n; i++, at += sizeof(uint16_t)) {
        uint16_t h;
        memcpy(&h, at, sizeof h);
        y[i] = fp16_to_float(h);
    }
}

static void decode_row_bf16(float *restrict y, const void *restrict blocks, size_t n)
{
    const unsigned char *at = blocks;
    for (size_t i = 0; i < n; i++, at += sizeof(uint16_t)) {
        uint16_t h;
        memcpy(&h, at, sizeof h);
        y[i] = bf16_to_float(h);
    }
}

#define FORMAT(name, TYPE, elements)                                                                  \
    static void decode_row_##name(float *restrict y, const void *restrict blocks, size_t n)           \
    {                                                                                                 \
        const struct block_##name *b = blocks;                                                        \
        for (size_t i = 0; i < n / (elements); i++) decode_##name(y + i * (size_t)(elements), b + i); \
    }
#include "quant/formats.inc"

static decode_row *const rows[N_DTYPES] = {
    [DTYPE_F32] = decode_row_f32,
    [DTYPE_F16] = decode_row_f16,
    [DTYPE_BF16] = decode_row_bf16,
#define FORMAT(name, TYPE, elements) [DTYPE_##TYPE] = decode_row_##name,
#include "quant/formats.inc"
};

void quant_decode(enum dtype t, float *y, const void *blocks, size_t n) { rows[t](y, blocks, n); }
