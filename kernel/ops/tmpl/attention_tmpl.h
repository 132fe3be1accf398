/* Attention over one block of positions, over vec16. Include after vector_tmpl.h; scalar/attention.c says in plain
 * loops what is computed, and every sum here has the same order.
 *
 *   1. scores: 16 positions are one vector; a tile of queries x key panels stays in registers while d runs.
 *      Then they are capped, if the block says so.
 *   2. softmax: per query, maximum and exponentials of the block, and the factor that shrinks what went before.
 *   3. values: a tile of queries x vectors of the output stays in registers while the position runs.
 *
 * Each key panel and each row of values is loaded once per VEC16_TILE_QUERIES queries. */

/* Positions after which the tile moves on to the next queries: 64 rows of values of 128 floats fill the L1 cache. */
enum { VALUE_CHUNK = 64 };

/* scores of queries q0 .. q0 + n_q and panels p0 .. p0 + n_p; n_q and n_p are constants. */
ALWAYS_INLINE void score_tile(const struct attention_block *b, int q0, int p0, int n_q, int n_p)
{
    vec16 dot[VEC16_TILE_QUERIES][VEC16_TILE_SINGLE];
    const ptrdiff_t panel = (ptrdiff_t)KEY_PANEL * b->head_dim;
    const float *q = b->q + q0 * b->q_stride, *key = b->k + p0 * panel;
    UNROLL for (int i = 0; i < n_q; i++)
        UNROLL for (int p = 0; p < n_p; p++) dot[i][p] = vec16_broadcast(0.0f);
    for (int d = 0; d < b->head_dim; d++, key += KEY_PANEL) {
        vec16 keys[VEC16_TILE_SINGLE];
        UNROLL for (int p = 0; p < n_p; p++) keys[p] = vec16_load(key + p * panel);
        UNROLL for (int i = 0; i < n_q; i++) {
            vec16 element = vec16_broadcast(q[i * b->q_stride + d]);
            UNROLL for (int p = 0; p < n_p; p++) dot[i][p] = vec16_fma(element, keys[p], dot[i][p]);
        }
    }
    vec16 scale = vec16_broadcast(b->scale);
    UNROLL for (int i = 0; i < n_q; i++)
        UNROLL for (int p = 0; p < n_p; p++)
            vec16_store(b->scores + (ptrdiff_t)(q0 + i) * ATTENTION_BLOCK + (p0 + p) * KEY_PANEL,
                        vec16_mul(dot[i][p], scale));
}

/* All queries against panels p0 .. p0 + n_p; n_p is a constant. */
ALWAYS_INLINE void score_panels(const struct attention_block *b, int p0, int n_p)
{
    int i = 0;
    for (; i + VEC16_TILE_QUERIES <= b->n_q; i += VEC16_TILE_QUERIES) score_tile(b, i, p0, VEC16_TILE_QUERIES, n_p);
    for (; i < b->n_q; i++) score_tile(b, i, p0, 1, n_p);
}

static void score_block(const struct attention_block *b)
{
    int p = b->first / KEY_PANEL, end = (b->last + KEY_PANEL - 1) / KEY_PANEL;
    if (b->n_q == 1)
        for (; p + VEC16_TILE_SINGLE <= end; p += VEC16_TILE_SINGLE) score_tile(b, 0, p, 1, VEC16_TILE_SINGLE);
    for (; p + VEC16_TILE_VECTORS <= end; p += VEC16_TILE_VECTORS) score_panels(b, p, VEC16_TILE_VECTORS);
    for (; p < end; p++) score_panels(b, p, 1);
}

/* scores [ATTENTION_BLOCK] of query i, whole panels, become softcap * tanh(score / softcap). */
static void cap_block(const struct attention_block *b, int i)
{
    int begin = b->first / KEY_PANEL * KEY_PANEL, end = (b->last + KEY_PANEL - 1) / KEY_PANEL * KEY_PANEL;
    OPS_NAME(softcap)(b->scores + (ptrdiff_t)i * ATTENTION_BLOCK + begin, b->softcap, end - begin);
}

/* scores [ATTENTION_BLOCK] become exp(score - max), zero in the hidden positions of the first and last panel; updates
 * the maximum and the sum of query i, and scales its output to the new maximum. */
static void softmax_block(const struct attention_block *b, int i)
{
    float *scores = b->scores + (ptrdiff_t)i * ATTENTION_BLOCK;
    int begin = b->first / KEY_PANEL * KEY_PANEL;
    vec16 largest = vec16_broadcast(-INFINITY);
    for (int j = begin; j < b->last; j += KEY_PANEL) {
        vec16 s = vec16_load(scores + j);
        if (j < b->first || j + KEY_PANEL > b->last) {
            int from = j < b->first ? b->first - j : 0, to = j + KEY_PANEL > b->last ? b->last - j : KEY_PANEL;
            s = vec16_keep_range(s, from, to, -INFINITY);
            vec16_store(scores + j, s);
        }
        largest = vec16_max(s, largest);
    }
    float block_max = vec16_largest(largest), old_max = b->max[i];
    float max = block_max > old_max ? block_max : old_max;

    vec16 sum = vec16_broadcast(0.0f), max_lanes = vec16_broadcast(max);
    for (int j = begin; j < b->last; j += KEY_PANEL) {
        vec16 e = vec16_exp(vec16_sub(vec16_load(scores + j), max_lanes));
        vec16_store(scores + j, e);
        sum = vec16_add(sum, e);
    }
    float correction = exp_scalar(old_max - max);
    b->sum[i] = fmaf(b->sum[i], correction, vec16_sum(sum));
    b->max[i] = max;
    if (correction != 1.0f) OPS_NAME(scale)(b->out + i * b->out_stride, correction, b->v_head_dim);
}

/* out += exp(score) * value for queries q0 .. q0 + n_q, positions j0 .. j1 and n_v vectors from element d on; the
 * last vector has `lanes` elements. n_q and n_v are constants, `lanes` is 16 unless n_v is 1. */
ALWAYS_INLINE void value_tile(const struct attention_block *b, int q0, int j0, int j1, int d, int n_q, int n_v,
                              int lanes)
{
    vec16 sum[VEC16_TILE_QUERIES][VEC16_TILE_SINGLE];
    float *out = b->out + q0 * b->out_stride + d;
    const float *weight = b->scores + (ptrdiff_t)q0 * ATTENTION_BLOCK;
    UNROLL for (int i = 0; i < n_q; i++)
        UNROLL for (int v = 0; v < n_v; v++) {
            const float *from = out + i * b->out_stride + v * OPS_LANES;
            sum[i][v] = lanes == OPS_LANES ? vec16_load(from) : vec16_load_n(from, lanes);
        }
    for (int j = j0; j < j1; j++) {
        const float *row = b->v + j * b->v_stride + d;
        vec16 value[VEC16_TILE_SINGLE];
        UNROLL for (int v = 0; v < n_v; v++)
            value[v] = lanes == OPS_LANES ? vec16_load(row + v * OPS_LANES) : vec16_load_n(row, lanes);
        UNROLL for (int i = 0; i < n_q; i++) {
            vec16 e = vec16_broadcast(weight[i * ATTENTION_BLOCK + j]);
            UNROLL for (int v = 0; v < n_v; v++) sum[i][v] = vec16_fma(e, value[v], sum[i][v]);
        }
    }
    UNROLL for (int i = 0; i < n_q; i++)
        UNROLL for (int v = 0; v < n_v; v++) {
            float *to = out + i * b->out_stride + v * OPS_LANES;
            if (lanes == OPS_LANES) {
                vec16_store(to, sum[i][v]);
            } else {
                vec16_store_n(to, sum[i][v], lanes);
            }
        }
}

/* All queries, n_v vectors of the output from element d on. */
ALWAYS_INLINE void value_vectors(const struct attention_block *b, int j0, int j1, int d, int n_v, int lanes)
{
    int i = 0;
    for (; i + VEC16_TILE_QUERIES <= b->n_q; i += VEC16_TILE_QUERIES)
        value_tile(b, i, j0, j1, d, VEC16_TILE_QUERIES, n_v, lanes);
    for (; i < b->n_q; i++) value_tile(b, i, j0, j1, d, 1, n_v, lanes);
}

static void value_block(const struct attention_block *b)
{
    for (int j0 = b->first, j1; j0 < b->last; j0 = j1) {
        j1 = b->last - j0 > VALUE_CHUNK ? j0 + VALUE_CHUNK : b->last;
        int d = 0;
        if (b->n_q == 1)
            for (; d + VEC16_TILE_SINGLE * OPS_LANES <= b->v_head_dim; d += VEC16_TILE_SINGLE * OPS_LANES)
                value_tile(b, 0, j0, j1, d, 1, VEC16_TILE_SINGLE, OPS_LANES);
        for (; d + VEC16_TILE_VECTORS * OPS_LANES <= b->v_head_dim; d += VEC16_TILE_VECTORS * OPS_LANES)
            value_vectors(b, j0, j1, d, VEC16_TILE_VECTORS, OPS_LANES);
        for (; d + OPS_LANES <= b->v_head_dim; d += OPS_LANES) value_vectors(b, j0, j1, d, 1, OPS_LANES);
        if (d < b->v_head_dim) value_vectors(b, j0, j1, d, 1, b->v_head_dim - d);
    }
}

void OPS_NAME(attention)(const struct attention_block *b)
{
    ASSUME(b->n_q >= 1 && b->head_dim >= 1 && b->v_head_dim >= 1);
    ASSUME(b->first >= 0 && b->first < b->last && b->last <= ATTENTION_BLOCK);
    score_block(b);
    for (int i = 0; b->softcap > 0.0f && i < b->n_q; i++) cap_block(b, i);
    for (int i = 0; i < b->n_q; i++) softmax_block(b, i);
    value_block(b);
}
