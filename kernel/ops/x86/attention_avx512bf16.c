/* Attention in pairs of bfloat16, the products of attention_bf16.h with vdpbf16ps: twice as many multiplications at a
 * time as with floats. Per pair the second element is added first, as in scalar/matmul_bf16.c. */
#define ATTENTION_NAME ops_attention_avx512bf16
#include "ops/x86/attention_bf16.h"

enum { MOST_QUERIES = 8 }; /* by two tiles: 16 of 32 registers */

/* sum [n_q][n_c * 16] += a times n_c tiles. */
ALWAYS_INLINE void multiply_queries(const struct product *p, const char *a, char *sum, int n_q, int n_c)
{
    vec16 sums[MOST_QUERIES][2];
    const char *b[2] = {p->b[0], p->b[1]};
    UNROLL for (int i = 0; i < n_q; i++) UNROLL for (int c = 0; c < n_c; c++)
    {
        const float *from = (const float *)(sum + i * p->sum_stride) + c * OPS_LANES;
        sums[i][c] = p->add ? vec16_load(from) : vec16_broadcast(0.0f);
    }
    for (ptrdiff_t at = 0; at < (ptrdiff_t)p->n_steps * ROW_BYTES; at += 4) {
        const ptrdiff_t pairs = at / ROW_BYTES * p->b_step + at % ROW_BYTES / 4 * ROW_BYTES;
        __m512bh columns[2];
        UNROLL for (int c = 0; c < n_c; c++) columns[c] = (__m512bh)_mm512_loadu_si512(b[c] + pairs);
        UNROLL for (int i = 0; i < n_q; i++)
        {
            int32_t pair;
            memcpy(&pair, a + i * p->a_stride + at, sizeof pair);
            const __m512bh query = (__m512bh)_mm512_set1_epi32(pair);
            UNROLL for (int c = 0; c < n_c; c++) sums[i][c] = _mm512_dpbf16_ps(sums[i][c], query, columns[c]);
        }
    }
    UNROLL for (int i = 0; i < n_q; i++) UNROLL for (int c = 0; c < n_c; c++)
        vec16_store((float *)(sum + i * p->sum_stride) + c * OPS_LANES, sums[i][c]);
}

#define CASE(n_q)                                \
    case n_q:                                    \
        if (p->b[1])                             \
            multiply_queries(p, a, sum, n_q, 2); \
        else                                     \
            multiply_queries(p, a, sum, n_q, 1); \
        break;

static void multiply(const struct product *p)
{
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < p->n[half]; i += MOST_QUERIES) {
            const char *a = (const char *)p->a[half] + i * p->a_stride;
            char *sum = (char *)p->sum[half] + i * p->sum_stride;
            switch (p->n[half] - i < MOST_QUERIES ? p->n[half] - i : MOST_QUERIES) {
                CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
            }
        }
}

static void begin_products(int now[2], const int n[2])
{
    (void)now;
    (void)n;
}

static void end_products(void) {}
