/* Whole passes through one layer against plain sums in double precision: scaled embeddings, norms behind the blocks,
 * an MLP beside experts, a router with an input of its own, a scaled layer, capped logits. All tokens stand at position
 * 0 of a session, where attention gives the value itself. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "tests/model/tiny.h"
#include "tests/support/compare.h"

enum { HIDDEN = 12, VOCAB = 7, HEAD = 4, FFN = 20, EXPERT = 6, EXPERTS = 5, TOP_K = 2, ROWS = 3 };

/* The weights as plain floats. */
struct plain {
    const float *embedding, *head, *final_norm;
    const float *mixer_norm, *mixer_post_norm, *ffn_norm, *ffn_post_norm, *mlp_post_norm, *moe_norm, *moe_post_norm;
    const float *v, *o, *gate, *up, *down, *router, *expert_gate, *expert_up, *expert_down;
    const float *router_scale, *expert_scale, *layer_scale;
};

struct bench {
    struct tiny tiny;
    struct plain plain;
};

static void make(struct bench *b)
{
    struct tiny *t = &b->tiny;
    struct plain *p = &b->plain;
    uint64_t seed = 1;
    tiny_make(t, HIDDEN);
    t->config.mixer.head_dim = t->config.mixer.v_head_dim = HEAD;
    t->config.ffn = (struct ffn){.activation = ACT_GELU_TANH, .intermediate_size = FFN};
    t->model.config.vocab_size = VOCAB;
    const float **norms[] = {&p->final_norm,    &p->mixer_norm, &p->mixer_post_norm, &p->ffn_norm,    &p->ffn_post_norm,
                             &p->mlp_post_norm, &p->moe_norm,   &p->moe_post_norm,   &p->router_scale};
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++) *norms[i] = tiny_random(t, HIDDEN, seed++);
    const struct {
        const float **values;
        struct weight *weight;
        int n, k;
    } matrices[] = {
        {&p->embedding, &t->model.embedding, VOCAB, HIDDEN},
        {&p->head, &t->model.head, VOCAB, HIDDEN},
        {&p->v, &t->layer.v, HEAD, HIDDEN},
        {&p->o, &t->layer.o, HIDDEN, HEAD},
        {&p->gate, &t->layer.dense.gate, FFN, HIDDEN},
        {&p->up, &t->layer.dense.up, FFN, HIDDEN},
        {&p->down, &t->layer.dense.down, HIDDEN, FFN},
        {&p->router, &t->layer.router, EXPERTS, HIDDEN},
    };
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) {
        *matrices[i].values = tiny_random(t, (size_t)(matrices[i].n * matrices[i].k), seed++);
        *matrices[i].weight = tiny_weight(t, matrices[i].n, matrices[i].k, *matrices[i].values);
    }
    t->layer.q = t->layer.k = t->layer.v;
    t->model.final_norm = p->final_norm;
    t->layer.mixer_norm = p->mixer_norm;
    t->layer.ffn_norm = p->ffn_norm;
}

/* Norms behind both blocks. */
static void make_post_norms(struct bench *b)
{
    b->tiny.config.post_norms = true;
    b->tiny.layer.mixer_post_norm = b->plain.mixer_post_norm;
    b->tiny.layer.ffn_post_norm = b->plain.ffn_post_norm;
}

/* Experts beside the MLP. */
static void make_both(struct bench *b)
{
    struct tiny *t = &b->tiny;
    struct plain *p = &b->plain;
    t->config.ffn.kind = FFN_DENSE_AND_MOE;
    t->config.ffn.expert_size = EXPERT;
    t->config.router = (struct router){.input = INPUT_RESIDUAL,
                                       .normalise = true,
                                       .scale = 1,
                                       .expert_scale = true,
                                       .n_experts = EXPERTS,
                                       .top_k = TOP_K};
    p->expert_gate = tiny_random(t, EXPERTS * EXPERT * HIDDEN, 100);
    p->expert_up = tiny_random(t, EXPERTS * EXPERT * HIDDEN, 101);
    p->expert_down = tiny_random(t, EXPERTS * HIDDEN * EXPERT, 102);
    p->expert_scale = tiny_random(t, EXPERTS, 103);
    t->layer.gate = tiny_bank(t, EXPERTS, EXPERT, HIDDEN, p->expert_gate, NULL);
    t->layer.up = tiny_bank(t, EXPERTS, EXPERT, HIDDEN, p->expert_up, NULL);
    t->layer.down = tiny_bank(t, EXPERTS, HIDDEN, EXPERT, p->expert_down, NULL);
    t->layer.expert_scale = p->expert_scale;
    t->layer.router_scale = p->router_scale;
    t->layer.mlp_post_norm = p->mlp_post_norm;
    t->layer.moe_norm = p->moe_norm;
    t->layer.moe_post_norm = p->moe_post_norm;
}

/* ---- the same in double precision -------------------------------------------------------------------------------- */

struct seen { /* of one token */
    double attention[HIDDEN], ffn[HIDDEN], hidden[HIDDEN], logits[VOCAB];
};

static void multiply(double *y, const float *w, const double *x, int n, int k)
{
    for (int r = 0; r < n; r++) {
        y[r] = 0;
        for (int i = 0; i < k; i++) y[r] += (double)w[r * k + i] * x[i];
    }
}

static void normalise(double *y, const double *x, const float *w)
{
    double squares = 0;
    for (int i = 0; i < HIDDEN; i++) squares += x[i] * x[i];
    for (int i = 0; i < HIDDEN; i++) y[i] = x[i] / sqrt(squares / HIDDEN + 1e-6) * (double)w[i];
}

static double gelu(double x) { return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

static void plain_mlp(double *y, const double *h, const float *gate, const float *up, const float *down, int n)
{
    double a[FFN], b[FFN];
    multiply(a, gate, h, n, HIDDEN);
    multiply(b, up, h, n, HIDDEN);
    for (int i = 0; i < n; i++) a[i] = gelu(a[i]) * b[i];
    multiply(y, down, a, HIDDEN, n);
}

static void plain_experts(const struct plain *p, double *y, const double *x)
{
    double r[HIDDEN], h[HIDDEN], part[HIDDEN], logits[EXPERTS], sum = 0;
    normalise(r, x, p->router_scale);
    for (int i = 0; i < HIDDEN; i++) r[i] /= sqrt(HIDDEN);
    multiply(logits, p->router, r, EXPERTS, HIDDEN);
    normalise(h, x, p->moe_norm);
    for (int i = 0; i < HIDDEN; i++) y[i] = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int e = 0; e < EXPERTS; e++) {
            int better = 0;
            for (int other = 0; other < EXPERTS; other++) better += logits[other] > logits[e];
            if (better >= TOP_K) continue;
            if (pass == 0) {
                sum += exp(logits[e]);
                continue;
            }
            plain_mlp(part, h, p->expert_gate + e * EXPERT * HIDDEN, p->expert_up + e * EXPERT * HIDDEN,
                      p->expert_down + e * HIDDEN * EXPERT, EXPERT);
            for (int i = 0; i < HIDDEN; i++) y[i] += exp(logits[e]) / sum * (double)p->expert_scale[e] * part[i];
        }
}

static void plain_ffn(const struct bench *b, double *y, const double *x)
{
    const struct plain *p = &b->plain;
    double h[HIDDEN], beside[HIDDEN];
    normalise(h, x, p->ffn_norm);
    plain_mlp(y, h, p->gate, p->up, p->down, FFN);
    if (b->tiny.config.ffn.kind == FFN_DENSE_AND_MOE) {
        normalise(beside, y, p->mlp_post_norm);
        plain_experts(p, y, x);
        normalise(y, y, p->moe_post_norm);
        for (int i = 0; i < HIDDEN; i++) y[i] += beside[i];
    }
    if (b->tiny.config.post_norms) normalise(y, y, p->ffn_post_norm);
}

static void plain_pass(const struct bench *b, int token, struct seen *s)
{
    const struct plain *p = &b->plain;
    const struct model_config *c = &b->tiny.model.config;
    double x[HIDDEN], h[HIDDEN], v[HEAD];
    for (int i = 0; i < HIDDEN; i++) x[i] = (double)p->embedding[token * HIDDEN + i] * (double)c->embedding_scale;
    normalise(h, x, p->mixer_norm);
    multiply(v, p->v, h, HEAD, HIDDEN);
    multiply(s->attention, p->o, v, HIDDEN, HEAD);
    if (b->tiny.config.post_norms) normalise(s->attention, s->attention, p->mixer_post_norm);
    for (int i = 0; i < HIDDEN; i++) x[i] += s->attention[i];
    plain_ffn(b, s->ffn, x);
    for (int i = 0; i < HIDDEN; i++)
        s->hidden[i] = (x[i] + s->ffn[i]) * (b->tiny.config.layer_scale ? (double)*b->tiny.layer.layer_scale : 1);
    normalise(h, s->hidden, p->final_norm);
    multiply(s->logits, p->head, h, VOCAB, HIDDEN);
    const double cap = (double)c->final_softcap;
    for (int r = 0; r < VOCAB && cap > 0; r++) s->logits[r] = cap * tanh(s->logits[r] / cap);
}

/* ---- and in the engine ------------------------------------------------------------------------------------------- */

struct got {
    float attention[ROWS][HIDDEN], ffn[ROWS][HIDDEN], hidden[ROWS][HIDDEN], logits[ROWS][VOCAB];
    float delivered[ROWS][VOCAB];
    int first; /* row that the next observation begins with */
};

static void see(void *context, enum observation what, int layer, int first_position, const void *data, ptrdiff_t ld,
                int n_rows, int width)
{
    struct got *g = context;
    (void)layer;
    (void)first_position;
    for (int i = 0; i < n_rows; i++) {
        float *to = what == SEE_ATTENTION ? g->attention[g->first + i]
                    : what == SEE_FFN     ? g->ffn[g->first + i]
                    : what == SEE_HIDDEN  ? g->hidden[g->first + i]
                                          : g->logits[g->first + i];
        memcpy(to, (const float *)data + i * ld, (size_t)width * sizeof *to);
    }
}

static void pass(struct bench *b, int n_threads, bool together, struct got *g)
{
    const struct observer observer = {1u << SEE_ATTENTION | 1u << SEE_FFN | 1u << SEE_HIDDEN | 1u << SEE_LOGITS, see,
                                      g};
    struct row rows[ROWS];
    memset(g, 0, sizeof *g);
    tiny_start(&b->tiny, ROWS, n_threads);
    for (int i = 0; i < ROWS; i++)
        rows[i] = (struct row){.cache = &b->tiny.caches[i], .token = 2 * i, .logits = g->delivered[i]};
    for (; g->first < ROWS; g->first += together ? ROWS : 1)
        tiny_forward(&b->tiny, rows + g->first, together ? ROWS : 1, &observer);
    cr_expect(!b->tiny.ws.not_finite);
    g->first = 0;
    tiny_stop(&b->tiny);
}

static void expect_close(const float *got, const double *expected, int n, const char *what, int row)
{
    for (int i = 0; i < n; i++)
        cr_assert(fabs((double)got[i] - expected[i]) <= 1e-5 * (1 + fabs(expected[i])),
                  "%s of row %d, [%d]: %.9g, expected %.9g", what, row, i, (double)got[i], expected[i]);
}

static void check(struct bench *b)
{
    struct got first, other;
    pass(b, 1, false, &first);
    for (int row = 0; row < ROWS; row++) {
        struct seen s;
        plain_pass(b, 2 * row, &s);
        expect_close(first.attention[row], s.attention, HIDDEN, "attention", row);
        expect_close(first.ffn[row], s.ffn, HIDDEN, "ffn", row);
        expect_close(first.hidden[row], s.hidden, HIDDEN, "hidden", row);
        expect_close(first.logits[row], s.logits, VOCAB, "logits", row);
        expect_close(first.delivered[row], s.logits, VOCAB, "delivered logits", row);
    }
    for (int kind = 0; kind < 5; kind++) { /* alone and together, 1 to 3 threads */
        pass(b, 1 + (kind + 1) / 2, kind % 2 == 0, &other);
        cr_expect_eq(memcmp(&first, &other, sizeof first), 0, "kind %d", kind);
    }
    tiny_free(&b->tiny);
}

Test(forward, plain_layer)
{
    struct bench b;
    make(&b);
    check(&b);
}

Test(forward, gemma_2_layer)
{
    struct bench b;
    make(&b);
    make_post_norms(&b);
    b.tiny.model.config.embedding_scale = 3.4641016f;
    b.tiny.model.config.final_softcap = 0.5f;
    check(&b);
}

Test(forward, gemma_4_layer)
{
    static const float layer_scale = 0.3125f;
    struct bench b;
    make(&b);
    make_post_norms(&b);
    make_both(&b);
    b.tiny.config.layer_scale = true;
    b.tiny.layer.layer_scale = &layer_scale;
    b.tiny.model.config.embedding_scale = 3.4641016f;
    b.tiny.model.config.final_softcap = 30;
    check(&b);
}

/* Experts alone may have a router with an input of its own, too. */
Test(forward, experts_whose_router_reads_the_residual)
{
    struct bench b;
    make(&b);
    make_both(&b);
    b.tiny.config.ffn.kind = FFN_MOE;
    struct got g;
    pass(&b, 2, true, &g);
    for (int row = 0; row < ROWS; row++) {
        double x[HIDDEN], expected[HIDDEN];
        const float *embedding = b.plain.embedding + 2 * row * HIDDEN;
        for (int i = 0; i < HIDDEN; i++) x[i] = (double)embedding[i] + (double)g.attention[row][i];
        b.plain.moe_norm = b.plain.ffn_norm; /* the one norm before experts that stand alone */
        plain_experts(&b.plain, expected, x);
        expect_close(g.ffn[row], expected, HIDDEN, "ffn", row);
    }
    tiny_free(&b.tiny);
}
