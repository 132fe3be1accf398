/* What one session remembers of its timeline, per layer:
 *
 *   GQA     keys and values of every position, both per kv head: panels of 16 keys, rows of values
 *           (ops/attention.h).
 *   MLA     one row per position: the normalised latent, then the rotated key part that all heads share.
 *   delta,  a state, in floats: what the convolution needs of the last conv_kernel - 1 positions, and for delta one
 *   conv    matrix per value head. It belongs to one position alone, the one before which the next token stands.
 *
 * Positions beyond `length` hold old bytes that nobody reads, so attention is rewound by setting the length. Layers
 * with a window keep all positions too; the window is applied when reading. A state cannot be rewound: copies of it,
 * checkpoints, are kept at some positions, and what lies between the last one that is left and the new length is
 * computed again (engine/session.c).
 *
 * Keys, values and latents are kept as F32, F16, BF16 or Q8_0, one type for a session. They are rounded when they are
 * written; attention reads the type as it is. */
#ifndef MODEL_CACHE_H
#define MODEL_CACHE_H

#include "base/arena.h"
#include "model/config.h"
#include "ops/attention.h"

enum {
    CACHE_CHECKPOINTS = 4,   /* copies of all states that a session keeps */
    CHECKPOINT_STRIDE = 128, /* decode leaves one behind every so many positions; prefill at the end of each pass */
    STATES_TORN = -1,        /* a pass has begun to change the states */
};

struct cache_layer {
    enum dtype type; /* of keys, values and latents */
    int capacity;
    /* GQA */
    unsigned char *keys;   /* [n_kv_heads][capacity / 16] panels of panel_bytes */
    unsigned char *values; /* [n_kv_heads][capacity] rows of value_bytes */
    size_t panel_bytes, value_bytes;
    int n_kv_heads, head_dim, v_head_dim;
    /* MLA */
    unsigned char *latents; /* [capacity] rows of latent_bytes */
    size_t latent_bytes;
    int latent_width; /* kv_lora_rank + n_rot */
    /* delta, conv: both lie in cache.states, one after the other */
    float *tail;   /* [conv_kernel - 1][channels] inputs of the convolution, oldest first; zero before position 0 */
    float *matrix; /* delta: [n_value_heads][v_head_dim][head_dim], a row per element of the value */
};

struct cache {
    struct cache_layer *layers; /* [n_layers] */
    int n_layers;
    int capacity;  /* positions, a multiple of KEY_PANEL */
    int length;    /* positions that are valid */
    float *states; /* [state_floats] of all layers, in one piece; NULL: there are none */
    size_t state_floats;
    int states_at;      /* position of the states, or STATES_TORN; the caller sets it around a pass */
    float *checkpoints; /* [CACHE_CHECKPOINTS][state_floats] */
    struct {
        int at, place;               /* position; which of the copies above */
    } checkpoint[CACHE_CHECKPOINTS]; /* ascending positions; the first n_checkpoints count, all places differ */
    int n_checkpoints;
};

/* The type that a cache has if nobody asks for another: f32 beside F32 weights, bf16 beside BF16, else f16. */
enum dtype cache_default_type(enum dtype weights);
/* "f32", "f16", "bf16" or "q8_0"; false: anything else. */
bool cache_type_from_word(const char *word, enum dtype *out);

/* Carves a cache for at least n_context positions, empty. Measure pass: arena without memory. */
void cache_carve(struct cache *cache, const struct model_config *c, int n_context, enum dtype type,
                 struct arena *arena);
/* After the carve pass, and to forget everything: length 0, states zero, no checkpoints. */
void cache_clear(struct cache *cache);

/* Write key [head_dim] and value [v_head_dim] of one kv head, or the latent row [latent_width], at `position` <
 * capacity. NaN stays NaN. */
void cache_write(const struct cache_layer *layer, int kv_head, int position, const float *key, const float *value);
void cache_write_latent(const struct cache_layer *layer, int position, const float *row);

/* The panel of `position`, a multiple of KEY_PANEL; the row of a position. */
static inline unsigned char *cache_keys(const struct cache_layer *layer, int kv_head, int position)
{
    const size_t panels = (size_t)(layer->capacity / KEY_PANEL);
    return layer->keys + ((size_t)kv_head * panels + (size_t)(position / KEY_PANEL)) * layer->panel_bytes;
}

static inline unsigned char *cache_values(const struct cache_layer *layer, int kv_head, int position)
{
    return layer->values + ((size_t)kv_head * (size_t)layer->capacity + (size_t)position) * layer->value_bytes;
}

static inline unsigned char *cache_latent(const struct cache_layer *layer, int position)
{
    return layer->latents + (size_t)position * layer->latent_bytes;
}

/* Keeps a copy of the states, at states_at; nothing happens if the last checkpoint is there already. When all places
 * are taken, the checkpoint goes whose neighbours (position 0 and the new one included) are closest together. Without
 * states: nothing to do. */
void cache_checkpoint(struct cache *cache);
/* Brings the states to the last checkpoint at or before `position` (to zero and position 0 if there is none), and
 * forgets the later ones. What lies between states_at and `position` then has to be computed again. Without states:
 * nothing to do. */
void cache_restore(struct cache *cache, int position);
/* dst, carved for the same model, the same type and at least src->length positions, becomes equal to src, checkpoints
 * included. */
void cache_copy(struct cache *dst, const struct cache *src);

/* Bytes that one more position costs, all layers; bytes of all states. */
uint64_t cache_bytes_per_token(const struct model_config *c, enum dtype type);
uint64_t cache_state_bytes(const struct model_config *c);

#endif
