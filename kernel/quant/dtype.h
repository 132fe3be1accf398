/* Element types of tensors as files store them: plain numbers, and blocks of quantised numbers (see blocks.h). */
#ifndef QUANT_DTYPE_H
#define QUANT_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    /* Blocks, weights of GGUF files. */
    DTYPE_Q4_0,
    DTYPE_Q4_1,
    DTYPE_Q5_0,
    DTYPE_Q5_1,
    DTYPE_Q8_0,
    DTYPE_Q2_K,
    DTYPE_Q3_K,
    DTYPE_Q4_K,
    DTYPE_Q5_K,
    DTYPE_Q6_K,
    DTYPE_IQ1_S,
    DTYPE_IQ1_M,
    DTYPE_IQ2_XXS,
    DTYPE_IQ2_XS,
    DTYPE_IQ2_S,
    DTYPE_IQ3_XXS,
    DTYPE_IQ3_S,
    DTYPE_IQ4_NL,
    DTYPE_IQ4_XS,
    DTYPE_MXFP4,
    /* Rows of FP8 with a float scale per 128 inputs: what a pair of safetensors tensors becomes (model/rows.h). In no
     * file as such. */
    DTYPE_F8_B128,
    /* Known to files, not usable as weights: they may be read from archives (reference dumps, indices, halves of a
     * pair). */
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

enum { DTYPE_MAX_BLOCK_ELEMENTS = 256, DTYPE_MAX_BLOCK_BYTES = 256 };

struct dtype_info {
    const char *name;         /* "F32", "BF16", "Q4_K": as safetensors and GGUF spell it */
    int elements_per_block;   /* along the inputs of a matrix; 1 for plain types */
    size_t bytes_per_block;
    int gguf_type;            /* number of the type in GGUF files; -1: none */
    bool in_safetensors;      /* safetensors headers may name it */
    bool is_float;            /* plain F32, F16, BF16: vectors (norms, biases) are of these */
    bool is_weight;           /* a layout can pack it, quant_decode can read it */
    bool can_encode;          /* quant_encode can write it */
};

/* Total: every enum dtype has a row. */
const struct dtype_info *dtype_info(enum dtype t);
/* By the name in a safetensors header, exactly; false when unknown. */
bool dtype_from_name(const char *name, size_t n, enum dtype *out);
/* By the name of a weight type as people type it, "q4_k" or "Q4_K"; false when it is none. */
bool dtype_from_word(const char *word, enum dtype *out);
/* By the number in a GGUF file. False: no such type, or one that Sluice cannot read; then *name is the name of a type
 * that is known to exist ("TQ1_0") or NULL. */
bool dtype_from_gguf(uint32_t type, enum dtype *out, const char **name);

/* The type that takes the place of t where rows have k elements: t itself or, where its blocks do not fit, a type of
 * about the same size with smaller ones, as llama.cpp chooses them. N_DTYPES: no blocks fit. */
enum dtype dtype_that_fits(enum dtype t, uint64_t k);

/* Bytes of n elements; n is a multiple of elements_per_block and small enough (a tensor that has been validated). */
static inline size_t blocks_bytes(enum dtype t, size_t n)
{
    const struct dtype_info *i = dtype_info(t);
    return n / (size_t)i->elements_per_block * i->bytes_per_block;
}

#endif
