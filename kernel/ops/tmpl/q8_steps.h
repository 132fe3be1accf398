/* The inner loop of a tile of a slab (q8_tmpl.h): n groups of 16 rows x 4 columns, levels[n * 64], against n_t tokens.
 * dot[t]: the integer sums of token t as floats. Everything is a constant but the pointers, so that loops unroll. */
ALWAYS_INLINE void q8_dot_steps(vec16 *dot, const uint8_t *levels, int n, const int8_t *q, int n_t, const int32_t *zero,
                                int shift, int max)
{
    q8_sum sum[16]; /* tokens of the largest tile */
    UNROLL for (int t = 0; t < n_t; t++) sum[t] = q8_begin(zero + t, shift);
    UNROLL for (int g = 0; g < n; g++) {
        const q8_bytes w = q8_load(levels + g * 64);
        UNROLL for (int t = 0; t < n_t; t++) sum[t] = q8_step(sum[t], w, q + t * Q8_BLOCK + 4 * g, g, max);
    }
    UNROLL for (int t = 0; t < n_t; t++) dot[t] = q8_end(sum[t], zero + t, shift, n, max);
}
