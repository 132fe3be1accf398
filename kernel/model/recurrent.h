/* What mixers with a state share: how their work is dealt, and a convolution with a memory (recurrent.c); and the two
 * forms of Gated DeltaNet (delta_net.c).
 *
 * A state makes the rows of a session depend on each other from first to last, so a piece of work is one part (a head,
 * a range of channels) of all rows of one session. */
#ifndef MODEL_RECURRENT_H
#define MODEL_RECURRENT_H

#include "model/forward.h"

/* for (struct piece p = piece_first(c, n_parts, t); p.left > 0; piece_next(&p)) ... the rows [p.first, p.end), p.part
 * Every thread gets an equal share of all (session, part) pairs, those of one session after the other. */
struct piece {
    const struct chunk *chunk;
    int first, end, part, n_parts;
    int left; /* pieces that this thread still has, this one included */
};
struct piece piece_first(const struct chunk *c, int n_parts, const struct thread *t);
void piece_next(struct piece *p);

/* `width` channels of a causal depth-wise convolution, in place, on rows that follow each other:
 *     x[i] becomes sum over j of taps[j] * x[i - (n_taps - 1) + j]
 * What comes before row 0 is in `tail` [n_taps - 1], oldest first, which receives the last inputs. */
struct conv {
    float *x;
    ptrdiff_t ldx;
    int n_rows, width, n_taps;
    const float *taps;
    float *tail;
    ptrdiff_t channels; /* from one tap to the next, and from one row of the tail to the next */
};
/* scratch: [(n_taps - 1) * width] */
void causal_conv(const struct ops *ops, const struct conv *conv, float *scratch);

/* Rows of one value head in the order of their positions. */
struct delta_rows {
    const float *q, *k, *v;  /* [n_rows, head_dim] twice, [n_rows, v_head_dim]; q and k of length 1, q also scaled */
    ptrdiff_t ld;            /* of q, k and v */
    const float *decay, *beta; /* [n_rows] both in 0..1; decay is e^g */
    float *out;              /* [n_rows, v_head_dim] */
    ptrdiff_t ld_out;
    float *state;            /* [v_head_dim, head_dim]: S transposed, before row 0; becomes that after the last row */
    int n_rows, head_dim, v_head_dim;
};
enum {
    DELTA_CHUNK = 64,     /* rows that the chunked form takes at once */
    DELTA_CHUNK_MIN = 8, /* fewer rows are about as fast one by one (measured) */
};

/* Channels of the convolution: all queries, all keys, all values. */
static inline int delta_channels(const struct mixer *m)
{
    return 2 * m->n_key_heads * m->head_dim + m->n_value_heads * m->v_head_dim;
}
/* g = rate * softplus(x), rate <= 0: the logarithm of a decay. */
double delta_log_decay(float rate, float x);
void delta_recurrent(const struct ops *ops, const struct delta_rows *rows);
/* At most DELTA_CHUNK rows. own: [delta_chunk_floats] */
void delta_chunk(const struct ops *ops, const struct delta_rows *rows, float *own);
size_t delta_chunk_floats(int head_dim, int v_head_dim, uint64_t features);

#endif
