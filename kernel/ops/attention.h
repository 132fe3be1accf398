/* What attention reads and leaves behind: keys and values of one head in one of four types, blocks of positions, and
 * the state of a softmax. Types are F32, F16, BF16 and Q8_0; whoever reads them gets floats, exactly: bits shifted up,
 * or a level of at most 8 bits times a scale of 11, which no float has to round. So results depend on what the type
 * did to the numbers when they were written, and on nothing else.
 *
 * Keys lie in panels of 16 positions, element (position, d) of one head at [position / 16][d][position % 16], so that
 * scores of 16 positions are one vector and need no horizontal sum. Values, and latents, are rows:
 *
 *     F32, F16, BF16   key panel [head_dim][16]                                 row [n]
 *     Q8_0             scales [blocks][16] (halves), levels [head_dim][16]      blocks of a half and 32 levels
 *
 * with blocks = head_dim / 32 rounded up; the last block of a row is filled up with zeros. */
#ifndef OPS_ATTENTION_H
#define OPS_ATTENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quant/dtype.h"

enum {
    KEY_PANEL = 16,
    /* Attention works in blocks of this many positions, cut at absolute multiples of it. */
    ATTENTION_BLOCK = 512,
    /* Floats from the scores of one query to the next. More than a block: at a distance of 2 KiB, the scores of many
     * queries would compete for two sets of the nearest cache. */
    ATTENTION_SCORES = ATTENTION_BLOCK + 16,
    ATTENTION_CHUNK = 64, /* positions that are brought to floats at a time, where many queries read them */
    /* So many queries of consecutive rows are worth `rounds`: with AVX512-BF16 16 take 30 us where floats take 47. For
     * tiles it is calculated: a block's keys and values take as long to become tiles as 4 queries take with floats. */
    ATTENTION_ROUNDS_FROM = 16,
    Q8_0_ELEMENTS = 32,
    Q8_0_BYTES = 2 + Q8_0_ELEMENTS,
};

static inline size_t q8_0_blocks(int n) { return ((size_t)n + Q8_0_ELEMENTS - 1) / Q8_0_ELEMENTS; }

/* Bytes of a panel of keys, and of a row of n values. */
static inline size_t key_panel_bytes(enum dtype t, int head_dim)
{
    if (t == DTYPE_Q8_0) return KEY_PANEL * (2 * q8_0_blocks(head_dim) + (size_t)head_dim);
    return KEY_PANEL * (size_t)head_dim * (t == DTYPE_F32 ? 4 : 2);
}
static inline size_t value_row_bytes(enum dtype t, int n)
{
    return t == DTYPE_Q8_0 ? Q8_0_BYTES * q8_0_blocks(n) : (size_t)n * (t == DTYPE_F32 ? 4 : 2);
}

/* One block of keys and values of one kv head, read by `group` query heads of n_rows consecutive positions. Row i sees
 * the positions j of the block with position + i - window < j <= position + i; at least one. */
struct attention_block {
    const float *q;          /* head g of row i at q + i * q_row + g * q_head: [head_dim], rotated, NOT scaled */
    ptrdiff_t q_row, q_head; /* floats */
    const void *k;           /* key panels. Those with a visible position are read whole; hidden positions may hold
                               * anything, NaN included */
    const void *v;           /* rows of the block, v_stride bytes apart; those that nobody sees are not read */
    size_t v_stride;
    enum dtype k_type, v_type;
    int n_rows, group, head_dim, v_head_dim;
    int position; /* of row 0, counted from the begin of the block; may lie behind its end */
    int window;   /* 0: none */
    float scale;  /* multiplies q.k */
    /* q, k, v and exp(s - max) may be rounded to bfloat16, and products be added in any order. Instruction sets that
     * gain nothing do not. Those that do, do it for any number of queries, so that a row's result depends on what it
     * sees and on this member, but not on the rows beside it. */
    bool rounds;
    float softcap;  /* > 0: scores become softcap * tanh(s * scale / softcap) before the softmax; 0: off */
    float *scratch; /* [attention_scratch_floats()] */
    /* What the block gives to each query, index i * group + g; not read. exp(s - max) is summed per lane, exp(s - max)
     * * v in ascending position from zero. */
    float *max, *sum;
    float *out; /* [n_rows * group] rows out_stride apart: sum of exp(s - max) * v. Whole vectors are
                               * written, so out_stride >= v_head_dim rounded up to 16 */
    ptrdiff_t out_stride;
};

static inline size_t attention_scratch_floats(int n_queries, int head_dim, int v_head_dim)
{
    const size_t widest = (size_t)(head_dim > v_head_dim ? head_dim : v_head_dim);
    const size_t rounded_q = ((size_t)head_dim + 31) / 32 * 16;
    return (size_t)n_queries * (ATTENTION_SCORES + rounded_q) + ATTENTION_CHUNK * ((widest + 31) / 32 * 32) + 16;
}

/* The positions of the block that row i sees: first <= j < last. */
static inline int attention_first(const struct attention_block *b, int i)
{
    const int first = b->position + i - b->window + 1;
    return b->window && first > 0 ? first : 0;
}
static inline int attention_last(const struct attention_block *b, int i)
{
    return b->position + i < ATTENTION_BLOCK ? b->position + i + 1 : ATTENTION_BLOCK;
}

#endif
