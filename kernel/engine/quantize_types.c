#include "engine/quantize_types.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- mixes ------------------------------------------------------------------------------------------------------- */

/* Layers whose matrices are worth more bits: errors of the first and the last ones weigh most. */
enum layers {
    NO_LAYERS,
    FIRST_SIXTEENTH,
    FIRST_EIGHTH,
    EDGES_AND_THIRDS, /* the first and the last eighth, and every third between */
};

struct choice {
    enum dtype usual, better;
    enum layers where; /* `better` is taken */
};

/* Down projections (of MLPs, experts and shared experts) and attention's values lose most by rounding: what they give
 * goes into the residual stream unmixed. Keys and values of models with experts are a tiny part of the file, and every
 * token reads them: 8 bits cost nothing there. */
struct mix {
    const char *name, *about;
    uint32_t file_type;
    enum dtype usual, embedding, output, attention_output;
    struct choice value, down;
    enum dtype expert;       /* gate, up and down of experts, unless equal to `usual`: then the rules above hold */
    bool keys_and_values_q8; /* in models with experts */
};

#define ALWAYS(t)       \
    {                   \
        t, t, NO_LAYERS \
    }
/* Every matrix of one type, the head of another. */
#define PLAIN(word, number, t, head, text)                                \
    {                                                                     \
        word, text, number, t, t, head, t, ALWAYS(t), ALWAYS(t), t, false \
    }

/* clang-format off */
static const struct mix mixes[] = {
    PLAIN("f32", 0, DTYPE_F32, DTYPE_F32, "every matrix in 32-bit floats"),
    PLAIN("f16", 1, DTYPE_F16, DTYPE_F16, "every matrix in 16-bit floats"),
    PLAIN("bf16", 32, DTYPE_BF16, DTYPE_BF16, "every matrix in bfloat16: exact for most checkpoints"),
    PLAIN("q8_0", 7, DTYPE_Q8_0, DTYPE_Q8_0, "every matrix in 8.5 bits per weight: hardly distinguishable"),
    PLAIN("q4_0", 2, DTYPE_Q4_0, DTYPE_Q6_K, "every matrix in 4.5 bits, head q6_k"),
    PLAIN("q4_1", 3, DTYPE_Q4_1, DTYPE_Q6_K, "every matrix in 5 bits, head q6_k"),
    PLAIN("q5_0", 8, DTYPE_Q5_0, DTYPE_Q6_K, "every matrix in 5.5 bits, head q6_k"),
    PLAIN("q5_1", 9, DTYPE_Q5_1, DTYPE_Q6_K, "every matrix in 6 bits, head q6_k"),
    {"q2_k", "2.6 bits; values q4_k, attention output and down q3_k, head q6_k", 10,
     DTYPE_Q2_K, DTYPE_Q2_K, DTYPE_Q6_K, DTYPE_Q3_K, ALWAYS(DTYPE_Q4_K), ALWAYS(DTYPE_Q3_K), DTYPE_Q2_K, true},
    PLAIN("q3_k", 11, DTYPE_Q3_K, DTYPE_Q6_K, "every matrix in 3.4 bits, head q6_k"),
    {"q3_k_s", "3.4 bits, head q6_k", 11,
     DTYPE_Q3_K, DTYPE_Q3_K, DTYPE_Q6_K, DTYPE_Q3_K, ALWAYS(DTYPE_Q3_K), ALWAYS(DTYPE_Q3_K), DTYPE_Q3_K, true},
    {"q3_k_m", "3.4 bits; values, attention output and down q4_k, down q5_k in the first layers, head q6_k", 12,
     DTYPE_Q3_K, DTYPE_Q3_K, DTYPE_Q6_K, DTYPE_Q4_K, {DTYPE_Q4_K, DTYPE_Q5_K, FIRST_EIGHTH},
     {DTYPE_Q4_K, DTYPE_Q5_K, FIRST_SIXTEENTH}, DTYPE_Q3_K, true},
    {"q3_k_l", "3.4 bits; values, attention output and down q5_k, head q6_k", 13,
     DTYPE_Q3_K, DTYPE_Q3_K, DTYPE_Q6_K, DTYPE_Q5_K, ALWAYS(DTYPE_Q5_K), ALWAYS(DTYPE_Q5_K), DTYPE_Q3_K, true},
    PLAIN("q4_k", 14, DTYPE_Q4_K, DTYPE_Q6_K, "every matrix in 4.5 bits, head q6_k"),
    {"q4_k_s", "4.5 bits; values and down q5_k in the first eighth of the layers, head q6_k", 14,
     DTYPE_Q4_K, DTYPE_Q4_K, DTYPE_Q6_K, DTYPE_Q4_K, {DTYPE_Q4_K, DTYPE_Q5_K, FIRST_EIGHTH},
     {DTYPE_Q4_K, DTYPE_Q5_K, FIRST_EIGHTH}, DTYPE_Q4_K, true},
    {"q4_k_m", "4.5 bits; values and down q6_k in half of the layers, head q6_k: the usual choice", 15,
     DTYPE_Q4_K, DTYPE_Q4_K, DTYPE_Q6_K, DTYPE_Q4_K, {DTYPE_Q4_K, DTYPE_Q6_K, EDGES_AND_THIRDS},
     {DTYPE_Q4_K, DTYPE_Q6_K, EDGES_AND_THIRDS}, DTYPE_Q4_K, true},
    PLAIN("q5_k", 16, DTYPE_Q5_K, DTYPE_Q6_K, "every matrix in 5.5 bits, head q6_k"),
    {"q5_k_s", "5.5 bits, head q6_k", 16,
     DTYPE_Q5_K, DTYPE_Q5_K, DTYPE_Q6_K, DTYPE_Q5_K, ALWAYS(DTYPE_Q5_K), ALWAYS(DTYPE_Q5_K), DTYPE_Q5_K, true},
    {"q5_k_m", "5.5 bits; values and down q6_k in half of the layers, head q6_k", 17,
     DTYPE_Q5_K, DTYPE_Q5_K, DTYPE_Q6_K, DTYPE_Q5_K, {DTYPE_Q5_K, DTYPE_Q6_K, EDGES_AND_THIRDS},
     {DTYPE_Q5_K, DTYPE_Q6_K, EDGES_AND_THIRDS}, DTYPE_Q5_K, true},
    PLAIN("q6_k", 18, DTYPE_Q6_K, DTYPE_Q6_K, "every matrix in 6.6 bits"),
    PLAIN("iq4_nl", 25, DTYPE_IQ4_NL, DTYPE_Q6_K, "every matrix in 4.5 bits of a curved scale, head q6_k"),
    {"iq4_xs", "4.25 bits of a curved scale; values and down q5_k in the first eighth, head q6_k", 30,
     DTYPE_IQ4_XS, DTYPE_IQ4_XS, DTYPE_Q6_K, DTYPE_IQ4_XS, {DTYPE_IQ4_XS, DTYPE_Q5_K, FIRST_EIGHTH},
     {DTYPE_IQ4_XS, DTYPE_Q5_K, FIRST_EIGHTH}, DTYPE_IQ4_XS, true},
    PLAIN("mxfp4", 38, DTYPE_MXFP4, DTYPE_Q6_K, "every matrix in 4.25 bits of floats, head q6_k"),
    {"mxfp4_moe", "experts in 4.25 bits of floats, everything else q8_0", 38,
     DTYPE_Q8_0, DTYPE_Q8_0, DTYPE_Q8_0, DTYPE_Q8_0, ALWAYS(DTYPE_Q8_0), ALWAYS(DTYPE_Q8_0), DTYPE_MXFP4, false},
};
/* clang-format on */
enum { N_MIXES = sizeof mixes / sizeof mixes[0] };

const struct mix *mix_find(const char *name)
{
    for (size_t i = 0; i < N_MIXES; i++)
        if (strcasecmp(name, mixes[i].name) == 0) return &mixes[i];
    return NULL;
}

uint32_t mix_file_type(const struct mix *mix) { return mix->file_type; }

bool sluice_quantize_type(size_t i, const char **name, const char **about)
{
    if (i >= N_MIXES) return false;
    *name = mixes[i].name;
    *about = mixes[i].about;
    return true;
}

void mix_list(char *out, size_t cap, bool element_types_only)
{
    size_t n = 0;
    enum dtype t;
    out[0] = 0;
    for (size_t i = 0; i < N_MIXES && n < cap; i++)
        if (!element_types_only || dtype_from_word(mixes[i].name, &t))
            n += (size_t)snprintf(out + n, cap - n, "%s%s", n ? ", " : "", mixes[i].name);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

int tensor_layer(const char *name)
{
    char *end;
    if (strncmp(name, "blk.", 4) != 0 || name[4] < '0' || name[4] > '9') return -1;
    unsigned long l = strtoul(name + 4, &end, 10);
    return *end == '.' && l < 1 << 20 ? (int)l : -1;
}

static bool has(const char *name, const char *part) { return strstr(name, part) != NULL; }

/* "blk.0.ffn_up_exps.weight", and one tensor per expert in old files: "blk.0.ffn_up.3.weight". */
static bool is_expert(const char *name)
{
    if (has(name, "_exps.")) return true;
    static const char *const old[] = {"ffn_gate.", "ffn_up.", "ffn_down."};
    for (size_t i = 0; i < sizeof old / sizeof old[0]; i++) {
        const char *at = strstr(name, old[i]);
        if (at && at[strlen(old[i])] >= '0' && at[strlen(old[i])] <= '9') return true;
    }
    return false;
}

void mix_model_add(struct mix_model *m, const char *name)
{
    int l = tensor_layer(name);
    if (l >= m->n_layers) m->n_layers = l + 1;
    m->has_experts |= is_expert(name);
    m->has_output |= strcmp(name, "output.weight") == 0;
}

bool tensor_is_rounded(const char *name, int n_dims)
{
    /* Read as floats by every engine: routers, convolutions and the small mixing vectors of recurrent models. */
    static const char *const exact[] = {
        "_norm", "ffn_gate_inp", "position_embd", "token_types",          "ssm_",  "shortconv", "time_mix_", "conv",
        "rope_", "altup",        "laurel",        "per_layer_model_proj", "rel_b", "pos_embd"};
    static const char end[] = ".weight";
    size_t n = strlen(name);
    if (n_dims < 2 || n < sizeof end || strcmp(name + n - (sizeof end - 1), end) != 0) return false;
    if (has(name, "ssm_in.") || has(name, "ssm_out.") || has(name, "shortconv.in_proj") ||
        has(name, "shortconv.out_proj"))
        return true;
    for (size_t i = 0; i < sizeof exact / sizeof exact[0]; i++)
        if (has(name, exact[i])) return false;
    return true;
}

static bool deserves_better(enum layers where, int l, int n)
{
    int eighth = n / 8 > 0 ? n / 8 : 1;
    switch (where) {
    case NO_LAYERS: return false;
    case FIRST_SIXTEENTH: return l < (n / 16 > 0 ? n / 16 : 1);
    case FIRST_EIGHTH: return l < eighth;
    case EDGES_AND_THIRDS: return l < eighth || l >= n - eighth || (l - eighth) % 3 == 2;
    }
    return false;
}

static enum dtype choose(const struct choice *c, int l, int n_layers)
{
    return deserves_better(c->where, l, n_layers) ? c->better : c->usual;
}

enum dtype mix_type(const struct mix *mix, const struct mix_model *m, const char *name)
{
    const int l = tensor_layer(name);
    if (strcmp(name, "output.weight") == 0) return mix->output;
    if (strcmp(name, "token_embd.weight") == 0) return m->has_output ? mix->embedding : mix->output;
    if (is_expert(name) && mix->expert != mix->usual) return mix->expert;
    if (mix->keys_and_values_q8 && m->has_experts && (has(name, ".attn_k.") || has(name, ".attn_v.")))
        return DTYPE_Q8_0;
    if (has(name, ".attn_v.") || has(name, ".attn_v_b.")) return choose(&mix->value, l, m->n_layers);
    if (has(name, ".attn_output.")) return mix->attention_output;
    if (has(name, ".ffn_down")) return choose(&mix->down, l, m->n_layers);
    return mix->usual;
}

bool rule_fits(const char *pattern, const char *name)
{
    return strpbrk(pattern, "*?[") ? fnmatch(pattern, name, 0) == 0 : has(name, pattern);
}
