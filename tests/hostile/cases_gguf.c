/* Rows G and T of the catalogue (see hostile.h): the keys, tensors and bytes of a GGUF file.
 *
 * The base is a Mixtral of two layers in 30 KiB, put together byte by byte. A writer begins with it, leaves out or adds
 * what its row is about, and ends with finish(). A key that a row changes stands behind the others; "key 16" is the
 * first that was added, "tensor 23" too. Whatever a row does to the number 23 and to the size of the file is part of
 * its line, so the base must not change.
 *
 * Not here is T30, a file that gets shorter while it is mapped: tests/engine/test_faults.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/hostile/hostile.h"
#include "tests/support/gguf.h"

/* Numbers of the format. */
enum { UINT8, INT8, UINT16, INT16, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64 };
enum { F32 = 0, F16 = 1, Q4_0 = 2, Q8_0 = 8, Q8_1 = 9, Q4_K = 12, I8 = 24, TQ1_0 = 34 };

/* ---- the base ---------------------------------------------------------------------------------------------------- */

enum { ALIGNMENT = 32, MAX_TENSORS = 32 };
enum { EMBEDDING, FINAL_NORM, HEAD, NORM_0, Q_0, K_0, V_0, O_0, FFN_NORM_0, ROUTER_0, GATE_0, UP_0, DOWN_0, NORM_1 };

struct tensor {
    const char *name;
    uint32_t type, n_dims;
    uint64_t dims[4]; /* innermost first */
    uint64_t offset;  /* 0: behind the tensor before it */
};

#define LAYER(l)                                                                                               \
    {"blk." l ".attn_norm.weight", F32, 1, {32}, 0}, {"blk." l ".attn_q.weight", F16, 2, {32, 32}, 0},         \
        {"blk." l ".attn_k.weight", F16, 2, {32, 16}, 0}, {"blk." l ".attn_v.weight", F16, 2, {32, 16}, 0},    \
        {"blk." l ".attn_output.weight", F16, 2, {32, 32}, 0}, {"blk." l ".ffn_norm.weight", F32, 1, {32}, 0}, \
        {"blk." l ".ffn_gate_inp.weight", F32, 2, {32, 4}, 0},                                                 \
        {"blk." l ".ffn_gate_exps.weight", Q4_0, 3, {32, 32, 4}, 0},                                           \
        {"blk." l ".ffn_up_exps.weight", Q4_0, 3, {32, 32, 4}, 0},                                             \
    {                                                                                                          \
        "blk." l ".ffn_down_exps.weight", Q4_0, 3, {32, 32, 4}, 0                                              \
    }

static const struct tensor base_tensors[] = {
    {"token_embd.weight", F16, 2, {32, 8}, 0},
    {"output_norm.weight", F32, 1, {32}, 0},
    {"output.weight", Q8_0, 2, {32, 8}, 0},
    LAYER("0"),
    LAYER("1"),
};
enum { N_TENSORS = sizeof base_tensors / sizeof *base_tensors };

/* A file that is being put together. */
struct model {
    struct gguf_draft keys;
    uint64_t n_keys;
    struct tensor tensors[MAX_TENSORS];
    uint64_t n_tensors;
    struct gguf_draft raw; /* behind the directory of tensors, for more_tensors */
    size_t data_begin;     /* in the draft of a whole file */
    uint32_t version, alignment;
    uint64_t more_keys, more_tensors; /* the header promises so many more, modulo 2^64 */
    bool packed;                      /* offsets are set */
};

/* A key that is put in unless it is the one to leave out. */
static bool adds(struct model *m, const char *name, const char *without)
{
    if (without && strcmp(name, without) == 0) return false;
    m->n_keys++;
    return true;
}

static void add_u32(struct model *m, const char *name, uint64_t v)
{
    m->n_keys++;
    draft_key_number(&m->keys, name, UINT32, v, 4);
}

static void add_text(struct model *m, const char *name, const char *text)
{
    m->n_keys++;
    draft_key_text(&m->keys, name, text);
}

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static void base_keys(struct model *m, const char *without)
{
    static const struct {
        const char *name;
        uint32_t v;
    } numbers[] = {
        {"llama.block_count", 2},           {"llama.context_length", 64},      {"llama.embedding_length", 32},
        {"llama.feed_forward_length", 32},  {"llama.attention.head_count", 4}, {"llama.attention.head_count_kv", 2},
        {"llama.expert_count", 4},          {"llama.expert_used_count", 2},    {"tokenizer.ggml.bos_token_id", 1},
        {"tokenizer.ggml.eos_token_id", 2},
    };
    static const char *const tokens[] = {"<unk>", "<s>", "</s>", "a", "b", "ab", "c", "d"};
    static const uint32_t types[] = {2, 3, 3, 1, 1, 1, 1, 1};
    struct gguf_draft *d = &m->keys;
    if (adds(m, "general.architecture", without)) draft_key_text(d, "general.architecture", "llama");
    if (adds(m, "tokenizer.ggml.model", without)) draft_key_text(d, "tokenizer.ggml.model", "llama");
    if (adds(m, "tokenizer.ggml.tokens", without)) {
        draft_array(d, "tokenizer.ggml.tokens", STRING, 8);
        for (int i = 0; i < 8; i++) draft_text(d, tokens[i]);
    }
    if (adds(m, "tokenizer.ggml.scores", without)) {
        draft_array(d, "tokenizer.ggml.scores", FLOAT32, 8);
        draft_zeros(d, 32);
    }
    if (adds(m, "tokenizer.ggml.token_type", without)) {
        draft_array(d, "tokenizer.ggml.token_type", INT32, 8);
        for (int i = 0; i < 8; i++) draft_number(d, types[i], 4);
    }
    if (adds(m, "llama.attention.layer_norm_rms_epsilon", without))
        draft_key_number(d, "llama.attention.layer_norm_rms_epsilon", FLOAT32, bits_of(1e-5f), 4);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (adds(m, numbers[i].name, without)) draft_key_number(d, numbers[i].name, UINT32, numbers[i].v, 4);
}

/* The base without one of its keys, or with all of them (NULL). */
static struct model begin(const char *without)
{
    struct model m = {.version = 3, .alignment = ALIGNMENT, .n_tensors = N_TENSORS};
    base_keys(&m, without);
    memcpy(m.tensors, base_tensors, sizeof base_tensors);
    return m;
}

static void remove_tensor(struct model *m, size_t i)
{
    m->n_tensors--;
    memmove(m->tensors + i, m->tensors + i + 1, (m->n_tensors - i) * sizeof *m->tensors);
}

static uint64_t bytes_of(const struct tensor *t)
{
    uint64_t n = 1;
    for (uint32_t i = 0; i < t->n_dims && i < 4; i++) n *= t->dims[i];
    switch (t->type) {
    case F32: return n * 4;
    case F16: return n * 2;
    case Q4_0: return n / 32 * 18;
    case Q8_0: return n / 32 * 34;
    default: return n;
    }
}

/* Gives every tensor that has none its offset, one behind the other. */
static void pack(struct model *m)
{
    uint64_t at = 0;
    for (size_t i = 0; i < m->n_tensors && !m->packed; i++) {
        if (m->tensors[i].offset == 0) m->tensors[i].offset = at;
        at = m->tensors[i].offset + bytes_of(&m->tensors[i]);
        at = (at + m->alignment - 1) & ~(uint64_t)(m->alignment - 1);
    }
    m->packed = true;
}

/* Numbers that let a pass run: norms of 1, matrices of small numbers. */
static void put_data(struct gguf_draft *d, const struct tensor *t)
{
    const uint64_t bytes = bytes_of(t);
    for (uint64_t at = 0; at < bytes;) {
        switch (t->type) {
        case F32: draft_number(d, bits_of(t->n_dims == 1 ? 1.0f : 0.5f), 4); break;
        case F16: draft_number(d, 0x2c00, 2); break;
        case Q4_0:
        case Q8_0: /* a scale of 2^-4, and its levels */
            draft_number(d, 0x2c00, 2);
            for (int i = 0; i < (t->type == Q4_0 ? 16 : 32); i++) draft_number(d, 0x21, 1);
            break;
        default: draft_number(d, 0, 1);
        }
        at = at + (t->type == F32 ? 4 : t->type == F16 ? 2 : t->type == Q4_0 ? 18 : t->type == Q8_0 ? 34 : 1);
    }
}

static void put_header(struct gguf_draft *d, struct model *m)
{
    pack(m);
    draft_start(d, m->version, m->n_tensors + m->more_tensors, m->n_keys + m->more_keys);
    draft_bytes(d, m->keys.data, m->keys.n);
    for (size_t i = 0; i < m->n_tensors; i++) {
        const struct tensor *t = &m->tensors[i];
        draft_tensor(d, t->name, t->n_dims, t->dims, t->type, t->offset);
    }
    draft_bytes(d, m->raw.data, m->raw.n);
    if (m->n_tensors > 0) draft_align(d, m->alignment);
    m->data_begin = d->n;
    draft_free(&m->keys);
    draft_free(&m->raw);
}

/* The whole file, and the end of the model. */
static struct gguf_draft assemble(struct model *m)
{
    struct gguf_draft d = {0};
    enum { MAX_GAP = 2 << 20 };
    put_header(&d, m);
    for (size_t i = 0; i < m->n_tensors; i++) {
        const uint64_t begin = m->data_begin + m->tensors[i].offset; /* a wild one may wrap */
        if (begin > d.n && begin - d.n < MAX_GAP) draft_zeros(&d, begin - d.n);
        put_data(&d, &m->tensors[i]);
    }
    return d;
}

static void save(struct hostile *h, struct gguf_draft *d)
{
    draft_save(d, &h->folder, "m.gguf");
    hostile_open_file(h, "m.gguf");
    draft_free(d);
}

static void finish(struct hostile *h, struct model *m)
{
    struct gguf_draft d = assemble(m);
    save(h, &d);
}

/* The header of the model and no data: for tensors that no disk holds. */
static void finish_without_data(struct hostile *h, struct model *m)
{
    struct gguf_draft d = {0};
    put_header(&d, m);
    draft_zeros(&d, 30000);
    save(h, &d);
}

static void base(struct hostile *h, uint64_t value)
{
    struct model m = begin(NULL);
    (void)value;
    finish(h, &m);
}

/* ---- G01..G09: the header ---------------------------------------------------------------------------------------- */

/* The first bytes of the base. */
static void short_file(struct hostile *h, uint64_t bytes)
{
    struct model m = begin(NULL);
    struct gguf_draft d = assemble(&m);
    d.n = bytes;
    save(h, &d);
}

/* The base with 4 other bytes at its beginning, or behind them. */
static void put_word(struct hostile *h, size_t at, uint64_t word)
{
    struct model m = begin(NULL);
    struct gguf_draft d = assemble(&m);
    for (size_t i = 0; i < 4; i++) d.data[at + i] = (unsigned char)(word >> (8 * i));
    save(h, &d);
}

static void magic(struct hostile *h, uint64_t word) { put_word(h, 0, word); }
static void version(struct hostile *h, uint64_t word) { put_word(h, 4, word); }

static void pointer(struct hostile *h, uint64_t value)
{
    (void)value;
    folder_write_text(&h->folder, "m.gguf",
                      "version https://git-lfs.github.com/spec/v1\noid sha256:0123456789abcdef\nsize 27000\n");
    hostile_open_file(h, "m.gguf");
}

static void tensor_count(struct hostile *h, uint64_t n)
{
    struct model m = begin(NULL);
    m.more_tensors = n - N_TENSORS;
    finish(h, &m);
}

static void more_tensors(struct hostile *h, uint64_t n)
{
    struct model m = begin(NULL);
    m.more_tensors = n;
    finish(h, &m);
}

static void key_count(struct hostile *h, uint64_t n)
{
    struct model m = begin(NULL);
    m.more_keys = n - m.n_keys;
    finish(h, &m);
}

static void more_keys(struct hostile *h, uint64_t n)
{
    struct model m = begin(NULL);
    m.more_keys = n;
    finish(h, &m);
}

/* Only keys, and one fewer than promised. */
static void missing_key(struct hostile *h, uint64_t value)
{
    struct model m = begin(NULL);
    (void)value;
    m.n_tensors = 0;
    m.more_keys = 1;
    finish(h, &m);
}

/* ---- G10..G25: keys and values ----------------------------------------------------------------------------------- */

/* A length, with everything else of the base behind it. */
static void key_length(struct hostile *h, uint64_t n)
{
    struct model m = begin(NULL);
    m.n_keys++;
    draft_number(&m.keys, n, 8);
    finish(h, &m);
}

/* A name of three bytes. */
static void key_bytes(struct hostile *h, uint64_t bytes)
{
    struct model m = begin(NULL);
    m.n_keys++;
    draft_number(&m.keys, 3, 8);
    draft_number(&m.keys, bytes, 3);
    draft_number(&m.keys, UINT8, 4);
    draft_number(&m.keys, 1, 1);
    finish(h, &m);
}

static void key_twice(struct hostile *h, uint64_t type)
{
    struct model m = begin(NULL);
    if (type == STRING)
        add_text(&m, "general.architecture", "llama");
    else
        add_u32(&m, "general.architecture", 0);
    finish(h, &m);
}

static void key_x(struct model *m, uint64_t type)
{
    *m = begin(NULL);
    m->n_keys++;
    draft_key(&m->keys, "x", (uint32_t)type);
}

static void value_type(struct hostile *h, uint64_t type)
{
    struct model m;
    key_x(&m, type);
    draft_zeros(&m.keys, 8);
    finish(h, &m);
}

static void array_x(struct hostile *h, uint64_t element, uint64_t n)
{
    struct model m;
    key_x(&m, ARRAY);
    draft_number(&m.keys, element, 4);
    draft_number(&m.keys, n, 8);
    finish(h, &m);
}

static void element_type(struct hostile *h, uint64_t type) { array_x(h, type, 1); }

static void string_length(struct hostile *h, uint64_t n)
{
    struct model m;
    key_x(&m, STRING);
    draft_number(&m.keys, n, 8);
    finish(h, &m);
}

/* Arrays of one array each, so deep. */
static void nested(struct hostile *h, uint64_t depth)
{
    struct model m;
    key_x(&m, ARRAY);
    for (uint64_t i = 0; i < depth; i++) {
        draft_number(&m.keys, ARRAY, 4);
        draft_number(&m.keys, 1, 8);
    }
    draft_number(&m.keys, UINT8, 4);
    draft_number(&m.keys, 0, 8);
    finish(h, &m);
}

static void bytes_count(struct hostile *h, uint64_t n) { array_x(h, UINT8, n); }
static void longs_count(struct hostile *h, uint64_t n) { array_x(h, UINT64, n); }
static void doubles_count(struct hostile *h, uint64_t n) { array_x(h, FLOAT64, n); }
static void strings_count(struct hostile *h, uint64_t n) { array_x(h, STRING, n); }

/* Nine strings, of which the sixth has this length. */
static void long_element(struct hostile *h, uint64_t n)
{
    struct model m;
    key_x(&m, ARRAY);
    draft_number(&m.keys, STRING, 4);
    draft_number(&m.keys, 9, 8);
    for (int i = 0; i < 9; i++)
        if (i == 5)
            draft_number(&m.keys, n, 8);
        else
            draft_text(&m.keys, "text");
    finish(h, &m);
}

static void boolean(struct hostile *h, uint64_t v)
{
    struct model m;
    key_x(&m, BOOL);
    draft_number(&m.keys, v, 1);
    finish(h, &m);
}

static void booleans(struct hostile *h, uint64_t v)
{
    struct model m;
    key_x(&m, ARRAY);
    draft_number(&m.keys, BOOL, 4);
    draft_number(&m.keys, 3, 8);
    draft_number(&m.keys, v, 3);
    finish(h, &m);
}

static void alignment(struct hostile *h, uint64_t n)
{
    struct model m = begin(NULL);
    add_u32(&m, "general.alignment", n);
    finish(h, &m);
}

/* ---- keys of the configuration ----------------------------------------------------------------------------------- */

/* The key with a number `v` of another type; of text or an array its only element. */
static void add_typed(struct model *m, const char *name, uint64_t type, uint64_t v)
{
    char text[32];
    double f64 = (double)v;
    uint64_t bits;
    switch (type) {
    case STRING:
        snprintf(text, sizeof text, "%llu", (unsigned long long)v);
        add_text(m, name, text);
        return;
    case ARRAY:
        m->n_keys++;
        draft_array(&m->keys, name, UINT32, 1);
        draft_number(&m->keys, v, 4);
        return;
    case FLOAT32:
        m->n_keys++;
        draft_key_number(&m->keys, name, FLOAT32, bits_of((float)v), 4);
        return;
    case FLOAT64:
        m->n_keys++;
        memcpy(&bits, &f64, sizeof bits);
        draft_key_number(&m->keys, name, FLOAT64, bits, 8);
        return;
    case BOOL:
        m->n_keys++;
        draft_key_number(&m->keys, name, BOOL, v != 0, 1);
        return;
    default: m->n_keys++; draft_key_number(&m->keys, name, (uint32_t)type, v, type == INT64 || type == UINT64 ? 8 : 4);
    }
}

static void replace_typed(struct hostile *h, const char *name, uint64_t type, uint64_t v)
{
    struct model m = begin(name);
    add_typed(&m, name, type, v);
    finish(h, &m);
}

/* A value for each of two layers, 32 bits each, of which the first stands in the lower half. */
static void replace_pair(struct hostile *h, const char *name, uint64_t values)
{
    struct model m = begin(name);
    m.n_keys++;
    draft_array(&m.keys, name, INT32, 2);
    draft_number(&m.keys, values, 8);
    finish(h, &m);
}
#define PAIR(first, second) ((uint64_t)(uint32_t)(second) << 32 | (uint32_t)(first))

static void without(struct hostile *h, const char *name)
{
    struct model m = begin(name);
    finish(h, &m);
}

static void replace_text(struct hostile *h, const char *name, const char *text, size_t n)
{
    struct model m = begin(name);
    m.n_keys++;
    draft_key(&m.keys, name, STRING);
    draft_number(&m.keys, n, 8);
    draft_bytes(&m.keys, text, n);
    finish(h, &m);
}

static void alignment_as(struct hostile *h, uint64_t type) { replace_typed(h, "general.alignment", type, 32); }
static void no_architecture(struct hostile *h, uint64_t value)
{
    (void)value;
    without(h, "general.architecture");
}
static void architecture_as(struct hostile *h, uint64_t type) { replace_typed(h, "general.architecture", type, 7); }

static void architecture(struct hostile *h, uint64_t number)
{
    static const struct {
        const char *text;
        size_t n;
    } names[] = {{"", 0}, {"../../etc", 9}, {"llama\0x", 7}, {"a\033[2Jb\"\\", 8}, {"llama ", 6}, {"\xff\xfe", 2}};
    replace_text(h, "general.architecture", names[number].text, names[number].n);
}

static void long_architecture(struct hostile *h, uint64_t n)
{
    char *name = malloc(n);
    if (!name) abort();
    memset(name, 'a', n);
    replace_text(h, "general.architecture", name, n);
    free(name);
}

#define COUNT "llama.block_count"
static void block_count(struct hostile *h, uint64_t v) { replace_typed(h, COUNT, UINT32, v); }
static void block_count_as(struct hostile *h, uint64_t type) { replace_typed(h, COUNT, type, 2); }
static void block_count_signed(struct hostile *h, uint64_t v) { replace_typed(h, COUNT, INT64, v); }
static void block_count_long(struct hostile *h, uint64_t v) { replace_typed(h, COUNT, UINT64, v); }
static void no_block_count(struct hostile *h, uint64_t value)
{
    (void)value;
    without(h, COUNT);
}

#define HEADS "llama.attention.head_count"
static void heads(struct hostile *h, uint64_t v) { replace_typed(h, HEADS, UINT32, v); }
static void heads_as(struct hostile *h, uint64_t type) { replace_typed(h, HEADS, type, 4); }
static void heads_per_layer(struct hostile *h, uint64_t v) { replace_pair(h, HEADS, v); }
static void kv_heads(struct hostile *h, uint64_t v) { replace_typed(h, HEADS "_kv", UINT32, v); }
static void kv_heads_as(struct hostile *h, uint64_t type) { replace_typed(h, HEADS "_kv", type, 2); }
static void kv_heads_per_layer(struct hostile *h, uint64_t v) { replace_pair(h, HEADS "_kv", v); }

#define USED "llama.expert_used_count"
static void used(struct hostile *h, uint64_t v) { replace_typed(h, USED, UINT32, v); }
static void used_per_layer(struct hostile *h, uint64_t v) { replace_pair(h, USED, v); }
static void no_used(struct hostile *h, uint64_t value)
{
    (void)value;
    without(h, USED);
}
static void experts(struct hostile *h, uint64_t v) { replace_typed(h, "llama.expert_count", UINT32, v); }

static void add_float(struct hostile *h, const char *name, uint64_t bits)
{
    struct model m = begin(name);
    m.n_keys++;
    draft_key_number(&m.keys, name, FLOAT32, bits, 4);
    finish(h, &m);
}
enum { NAN_BITS = 0x7fc00000, INF_BITS = 0x7f800000 };
#define MINUS_1_BITS 0xbf800000u
#define HALF_BITS    0x3f000000u
#define E30_BITS     0x7149f2cau /* 1e30 */

static void freq_base(struct hostile *h, uint64_t bits) { add_float(h, "llama.rope.freq_base", bits); }
static void epsilon(struct hostile *h, uint64_t bits) { add_float(h, "llama.attention.layer_norm_rms_epsilon", bits); }
static void n_rot(struct hostile *h, uint64_t v) { replace_typed(h, "llama.rope.dimension_count", UINT32, v); }
static void n_rot_as(struct hostile *h, uint64_t type) { replace_typed(h, "llama.rope.dimension_count", type, 8); }
static void hidden_size(struct hostile *h, uint64_t v) { replace_typed(h, "llama.embedding_length", UINT32, v); }
static void ffn_size(struct hostile *h, uint64_t v) { replace_typed(h, "llama.feed_forward_length", UINT32, v); }
static void n_context(struct hostile *h, uint64_t v) { replace_typed(h, "llama.context_length", UINT32, v); }
static void n_context_long(struct hostile *h, uint64_t v) { replace_typed(h, "llama.context_length", UINT64, v); }

/* ---- G38..G40: split models -------------------------------------------------------------------------------------- */

#define PART_1 "m-00001-of-00003.gguf"
#define PART_2 "m-00002-of-00003.gguf"
#define PART_3 "m-00003-of-00003.gguf"
static const char *const part_names[] = {PART_1, PART_2, PART_3};

/* What the keys of a part say. */
struct part {
    uint64_t no, count, total;
    const char *architecture; /* NULL: of a later part none, of the first that of the base */
    size_t first, last;       /* its tensors */
};
static const struct part good_parts[] = {
    {0, 3, N_TENSORS, NULL, 0, 8}, {1, 3, N_TENSORS, NULL, 8, 16}, {2, 3, N_TENSORS, NULL, 16, N_TENSORS}};

static void write_part(const struct hostile *h, const char *name, const struct part *p)
{
    struct model m = {.version = 3, .alignment = ALIGNMENT};
    if (p->no == 0) base_keys(&m, p->architecture ? "general.architecture" : NULL);
    if (p->architecture) add_text(&m, "general.architecture", p->architecture);
    m.n_keys += 3;
    draft_key_number(&m.keys, "split.no", UINT16, p->no, 2);
    draft_key_number(&m.keys, "split.count", UINT16, p->count, 2);
    draft_key_number(&m.keys, "split.tensors.count", INT32, p->total, 4);
    m.n_tensors = p->last - p->first;
    memcpy(m.tensors, base_tensors + p->first, m.n_tensors * sizeof *m.tensors);
    struct gguf_draft d = assemble(&m);
    draft_save(&d, &h->folder, name);
    draft_free(&d);
}

static void write_parts(struct hostile *h)
{
    for (int i = 0; i < 3; i++) write_part(h, part_names[i], &good_parts[i]);
    hostile_open_file(h, PART_1);
}

static void good_split(struct hostile *h, uint64_t part)
{
    write_parts(h);
    hostile_open_file(h, part_names[part]);
}

static void split_count(struct hostile *h, uint64_t count)
{
    struct part p = good_parts[0];
    write_parts(h);
    p.count = count;
    write_part(h, PART_1, &p);
}

static void split_no(struct hostile *h, uint64_t no)
{
    struct part p = good_parts[0];
    write_parts(h);
    p.no = no;
    write_part(h, PART_1, &p);
}

static void split_total(struct hostile *h, uint64_t total)
{
    struct part p = good_parts[0];
    write_parts(h);
    p.total = total;
    write_part(h, PART_1, &p);
}

static void split_renamed(struct hostile *h, uint64_t value)
{
    (void)value;
    write_part(h, "m.gguf", &good_parts[0]);
    hostile_open_file(h, "m.gguf");
}

static void split_count_as_text(struct hostile *h, uint64_t value)
{
    struct model m = begin(NULL);
    (void)value;
    add_text(&m, "split.count", "3");
    struct gguf_draft d = assemble(&m);
    draft_save(&d, &h->folder, PART_1);
    draft_free(&d);
    hostile_open_file(h, PART_1);
}

static void part_missing(struct hostile *h, uint64_t part)
{
    write_parts(h);
    folder_delete(&h->folder, part_names[part]);
    if (part == 0) snprintf(h->path, sizeof h->path, "%s", h->folder.path);
}

static void first_part_twice(struct hostile *h, uint64_t value)
{
    (void)value;
    write_parts(h);
    write_part(h, PART_2, &good_parts[0]);
}

static void part_of_another(struct hostile *h, uint64_t count)
{
    struct part p = good_parts[1];
    write_parts(h);
    p.count = count;
    if (count == 3) p.architecture = "qwen2";
    write_part(h, PART_2, &p);
}

static void part_cut(struct hostile *h, uint64_t bytes)
{
    write_parts(h);
    if (truncate(folder_path(&h->folder, PART_2), (off_t)bytes) != 0) abort();
}

/* The second part has a tensor of the first as well. */
static void tensor_in_two_parts(struct hostile *h, uint64_t value)
{
    struct part first = good_parts[0], second = good_parts[1];
    (void)value;
    write_parts(h);
    first.total = N_TENSORS + 1;
    second.first = first.last - 1;
    write_part(h, PART_1, &first);
    write_part(h, PART_2, &second);
}

/* ---- T01..T15: the directory of tensors -------------------------------------------------------------------------- */

/* A vector of 8 floats behind the others, whose name of n bytes claims to have said_n. */
static void name_tensor(struct hostile *h, const char *name, size_t n, uint64_t said_n)
{
    struct model m = begin(NULL);
    m.more_tensors = 1;
    draft_number(&m.raw, said_n, 8);
    draft_bytes(&m.raw, name, n);
    draft_number(&m.raw, 1, 4);
    draft_number(&m.raw, 8, 8);
    draft_number(&m.raw, F32, 4);
    draft_number(&m.raw, 0, 8);
    finish(h, &m);
}

static void name_length(struct hostile *h, uint64_t n)
{
    char name[66];
    memset(name, 'n', sizeof name);
    name_tensor(h, name, n < sizeof name ? n : sizeof name, n);
}

/* The directory ends within this name. */
static void name_cut(struct hostile *h, uint64_t rest)
{
    struct model m = begin(NULL);
    struct gguf_draft d = {0};
    m.more_tensors = 1;
    draft_number(&m.raw, 60, 8);
    pack(&m);
    m.alignment = 1; /* no padding */
    put_header(&d, &m);
    draft_zeros(&d, rest);
    save(h, &d);
}

static void name_bytes(struct hostile *h, uint64_t bytes)
{
    const char name[3] = {(char)bytes, (char)(bytes >> 8), (char)(bytes >> 16)};
    name_tensor(h, name, 3, 3);
}

/* The query matrix under another name. */
static void rename_tensor(struct hostile *h, uint64_t as)
{
    struct model m = begin(NULL);
    m.tensors[Q_0].name = m.tensors[as].name;
    finish(h, &m);
}

static void n_dims(struct hostile *h, uint64_t n)
{
    struct model m = begin(NULL);
    m.more_tensors = 1;
    draft_text(&m.raw, "x");
    draft_number(&m.raw, n, 4);
    for (int i = 0; i < 5; i++) draft_number(&m.raw, 8, 8);
    draft_number(&m.raw, F32, 4);
    draft_number(&m.raw, 0, 8);
    finish(h, &m);
}

static void zero_dim(struct hostile *h, uint64_t i)
{
    struct model m = begin(NULL);
    m.tensors[GATE_0].dims[i] = 0;
    finish_without_data(h, &m);
}

static void zero_in_vector(struct hostile *h, uint64_t value)
{
    struct model m = begin(NULL);
    (void)value;
    m.tensors[NORM_0].dims[0] = 0;
    finish_without_data(h, &m);
}

/* The query matrix gets other dimensions, and a type. */
static void size_q(struct hostile *h, uint64_t dim_0, uint64_t dim_1, uint32_t type)
{
    struct model m = begin(NULL);
    m.tensors[Q_0] = (struct tensor){m.tensors[Q_0].name, type, 2, {dim_0, dim_1}, 0};
    finish_without_data(h, &m);
}

static void dim_0(struct hostile *h, uint64_t v) { size_q(h, v, 1, F16); }
static void dim_1(struct hostile *h, uint64_t v) { size_q(h, 32, v, F16); }
/* The product of 2^a and 2^b, in hexadecimal digits: 0x2a16 is a = 42 and b = 22. */
static void powers_f16(struct hostile *h, uint64_t ab) { size_q(h, 1ull << (ab >> 8), 1ull << (ab & 0xff), F16); }
static void powers_f32(struct hostile *h, uint64_t ab) { size_q(h, 1ull << (ab >> 8), 1ull << (ab & 0xff), F32); }
static void powers_q8(struct hostile *h, uint64_t ab) { size_q(h, 1ull << (ab >> 8), 1ull << (ab & 0xff), Q8_0); }
static void twice_i8(struct hostile *h, uint64_t v) { size_q(h, v, 2, I8); }
static void row_f32(struct hostile *h, uint64_t v) { size_q(h, v, 1, F32); }
static void row_f64(struct hostile *h, uint64_t v) { size_q(h, v, 1, 28); }

/* Three tensors that fit, and whose sum wraps. */
static void sum_wraps(struct hostile *h, uint64_t value)
{
    struct model m = begin(NULL);
    (void)value;
    for (size_t i = Q_0; i <= V_0; i++) {
        m.tensors[i].type = F32;
        m.tensors[i].dims[0] = 1ull << 40;
        m.tensors[i].dims[1] = 1ull << (i == K_0 ? 21 : 20);
    }
    finish_without_data(h, &m);
}

static void type_q(struct hostile *h, uint64_t type) { size_q(h, 256, 4, (uint32_t)type); }
static void row_q4(struct hostile *h, uint64_t n) { size_q(h, n, 32, Q4_0); }
static void row_q4_k(struct hostile *h, uint64_t n) { size_q(h, n, 32, Q4_K); }

/* ---- T15..T21: places in the data section ------------------------------------------------------------------------ */

static void last_offset(struct hostile *h, uint64_t offset)
{
    struct model m = begin(NULL);
    pack(&m);
    m.tensors[N_TENSORS - 1].offset = offset;
    finish(h, &m);
}

static void first_offset(struct hostile *h, uint64_t offset)
{
    struct model m = begin(NULL);
    pack(&m);
    m.tensors[0].offset = offset;
    finish(h, &m);
}

static void wide_alignment(struct hostile *h, uint64_t n)
{
    struct model m = begin(NULL); /* whose tensors lie at multiples of 32 */
    pack(&m);
    add_u32(&m, "general.alignment", n);
    m.alignment = (uint32_t)n;
    finish(h, &m);
}

static void cut_end(struct hostile *h, uint64_t bytes)
{
    struct model m = begin(NULL);
    struct gguf_draft d = assemble(&m);
    d.n -= bytes;
    save(h, &d);
}

static void cut_before_data(struct hostile *h, uint64_t bytes)
{
    struct model m = begin(NULL);
    struct gguf_draft d = assemble(&m);
    d.n = m.data_begin - bytes;
    save(h, &d);
}

/* The values begin so far behind those of the keys, which are 1,024 bytes. */
static void overlap(struct hostile *h, uint64_t distance)
{
    struct model m = begin(NULL);
    pack(&m);
    m.tensors[V_0].offset = m.tensors[K_0].offset + distance;
    finish(h, &m);
}

static void gap(struct hostile *h, uint64_t bytes)
{
    struct model m = begin(NULL);
    pack(&m);
    for (size_t i = V_0; i < N_TENSORS; i++) m.tensors[i].offset += bytes;
    finish(h, &m);
}

static void gap_at_first(struct hostile *h, uint64_t bytes)
{
    struct model m = begin(NULL);
    pack(&m);
    for (size_t i = 0; i < N_TENSORS; i++) m.tensors[i].offset += bytes;
    finish(h, &m);
}

static void trailing(struct hostile *h, uint64_t bytes)
{
    struct model m = begin(NULL);
    struct gguf_draft d = assemble(&m);
    draft_zeros(&d, bytes);
    save(h, &d);
}

/* ---- T22..T25: what the configuration says ----------------------------------------------------------------------- */

static void n_experts(struct hostile *h, uint64_t n)
{
    struct model m = begin(NULL);
    m.tensors[GATE_0].dims[2] = n;
    finish(h, &m);
}

static void all_experts(struct hostile *h, uint64_t n)
{
    struct model m = begin(NULL);
    for (size_t i = ROUTER_0; i < N_TENSORS; i++)
        for (uint32_t k = 0; k < m.tensors[i].n_dims; k++)
            if (m.tensors[i].dims[k] == 4) m.tensors[i].dims[k] = n;
    finish(h, &m);
}

static void flat_experts(struct hostile *h, uint64_t value)
{
    struct model m = begin(NULL);
    (void)value;
    m.tensors[GATE_0].n_dims = 2;
    m.tensors[GATE_0].dims[1] = 128;
    finish(h, &m);
}

static void transposed(struct hostile *h, uint64_t i)
{
    struct model m = begin(NULL);
    const uint64_t first = m.tensors[i].dims[0];
    m.tensors[i].dims[0] = m.tensors[i].dims[1];
    m.tensors[i].dims[1] = first;
    finish(h, &m);
}

static void long_vocabulary(struct hostile *h, uint64_t n)
{
    struct model m = begin(NULL);
    m.tensors[EMBEDDING].dims[1] = n;
    finish(h, &m);
}

static void norm_length(struct hostile *h, uint64_t n)
{
    struct model m = begin(NULL);
    m.tensors[FFN_NORM_0].dims[0] = n;
    finish(h, &m);
}

static void norm_of_rows(struct hostile *h, uint64_t value)
{
    struct model m = begin(NULL);
    (void)value;
    m.tensors[NORM_0].n_dims = 2;
    m.tensors[NORM_0].dims[1] = 1;
    finish(h, &m);
}

static void missing_tensor(struct hostile *h, uint64_t i)
{
    struct model m = begin(NULL);
    remove_tensor(&m, i);
    finish(h, &m);
}

static void missing_from(struct hostile *h, uint64_t i)
{
    struct model m = begin(NULL);
    m.n_tensors = i;
    finish(h, &m);
}

static void type_of_norm(struct hostile *h, uint64_t type)
{
    struct model m = begin(NULL);
    m.tensors[NORM_0].type = (uint32_t)type;
    finish(h, &m);
}

static void type_of_router(struct hostile *h, uint64_t type)
{
    struct model m = begin(NULL);
    m.tensors[ROUTER_0].type = (uint32_t)type;
    finish(h, &m);
}

/* A tensor behind the others, of n floats. */
static struct model with_vector(const char *name, uint32_t type, uint64_t n)
{
    struct model m = begin(NULL);
    m.tensors[m.n_tensors++] = (struct tensor){name, type, 1, {n}, 0};
    return m;
}

static void divisors_type(struct hostile *h, uint64_t type)
{
    struct model m = with_vector("rope_freqs.weight", (uint32_t)type, 4);
    finish(h, &m);
}

static void divisors_length(struct hostile *h, uint64_t n)
{
    struct model m = with_vector("rope_freqs.weight", F32, n);
    finish(h, &m);
}

/* ---- T26..T29: values, names, sizes ------------------------------------------------------------------------------ */

/* `bytes` bytes of a tensor, `at` from its beginning, become `bits`. */
static void put_value(struct hostile *h, struct model *m, size_t tensor, size_t at, uint64_t bits, size_t bytes)
{
    struct gguf_draft d = assemble(m);
    unsigned char *p = d.data + m->data_begin + m->tensors[tensor].offset + at;
    for (size_t i = 0; i < bytes; i++) p[i] = (unsigned char)(bits >> (8 * i));
    save(h, &d);
}

static void put_base_value(struct hostile *h, size_t tensor, size_t at, uint64_t bits, size_t bytes)
{
    struct model m = begin(NULL);
    put_value(h, &m, tensor, at, bits, bytes);
}

static void divisor(struct hostile *h, uint64_t bits)
{
    struct model m = with_vector("rope_freqs.weight", F32, 4);
    put_value(h, &m, N_TENSORS, 8, bits, 4);
}

/* Halves: 0x7e00 is no number, 0x7c00 infinite. */
static void head_scale(struct hostile *h, uint64_t bits) { put_base_value(h, HEAD, 3 * 34, bits, 2); }
static void expert_scale(struct hostile *h, uint64_t bits) { put_base_value(h, DOWN_0, 0, bits, 2); }
static void embedding_value(struct hostile *h, uint64_t bits) { put_base_value(h, EMBEDDING, 2 * 32 + 4, bits, 2); }
static void q_value(struct hostile *h, uint64_t bits) { put_base_value(h, Q_0, 200, bits, 2); }
static void norm_value(struct hostile *h, uint64_t bits) { put_base_value(h, FINAL_NORM, 12, bits, 4); }
static void router_value(struct hostile *h, uint64_t bits) { put_base_value(h, ROUTER_0, 40, bits, 4); }

static void extra_tensor(struct hostile *h, uint64_t i)
{
    static const char *const names[] = {"direction.536870912", "blk.536870912.attn_q.weight",
                                        "blk.4294967296.attn_q.weight", "blk.-1.attn_q.weight",
                                        "blk.0.ffn_gate.536870912.weight"};
    struct model m = with_vector(names[i], F32, 8);
    finish(h, &m);
}

extern void __tsan_init(void) __attribute__((weak));

/* A dense model whose embedding, 2^40 bytes, is a hole in the file. */
static void terabyte(struct hostile *h, uint64_t value)
{
    enum { HIDDEN = 1 << 17, VOCAB = 1 << 22 };
    static const struct tensor tensors[] = {
        {"output_norm.weight", F32, 1, {HIDDEN}, 0},       {"blk.0.attn_norm.weight", F32, 1, {HIDDEN}, 0},
        {"blk.0.attn_q.weight", F16, 2, {HIDDEN, 32}, 0},  {"blk.0.attn_k.weight", F16, 2, {HIDDEN, 16}, 0},
        {"blk.0.attn_v.weight", F16, 2, {HIDDEN, 16}, 0},  {"blk.0.attn_output.weight", F16, 2, {32, HIDDEN}, 0},
        {"blk.0.ffn_norm.weight", F32, 1, {HIDDEN}, 0},    {"blk.0.ffn_gate.weight", F16, 2, {HIDDEN, 32}, 0},
        {"blk.0.ffn_up.weight", F16, 2, {HIDDEN, 32}, 0},  {"blk.0.ffn_down.weight", F16, 2, {32, HIDDEN}, 0},
        {"token_embd.weight", F16, 2, {HIDDEN, VOCAB}, 0},
    };
    enum { N = sizeof tensors / sizeof *tensors };
    struct model m = {.version = 3, .alignment = ALIGNMENT, .n_tensors = N};
    struct gguf_draft d = {0};
    (void)value;
    memcpy(m.tensors, tensors, sizeof tensors);
    add_text(&m, "general.architecture", "llama");
    add_u32(&m, "llama.block_count", 1);
    add_u32(&m, "llama.context_length", 64);
    add_u32(&m, "llama.embedding_length", HIDDEN);
    add_u32(&m, "llama.feed_forward_length", 32);
    add_u32(&m, "llama.vocab_size", VOCAB);
    add_u32(&m, "llama.attention.head_count", 4);
    add_u32(&m, "llama.attention.head_count_kv", 2);
    add_u32(&m, "llama.attention.key_length", 8);
    m.n_keys++;
    draft_key_number(&m.keys, "llama.attention.layer_norm_rms_epsilon", FLOAT32, bits_of(1e-5f), 4);
    put_header(&d, &m);
    const uint64_t bytes = m.data_begin + m.tensors[N - 1].offset + bytes_of(&m.tensors[N - 1]);
    save(h, &d);
    if (__tsan_init)
        h->skip = "ThreadSanitizer may leave no room for a map of a terabyte";
    else if (truncate(h->path, (off_t)bytes) != 0)
        h->skip = "the file system has no files of a terabyte";
}

/* ---- the list ---------------------------------------------------------------------------------------------------- */

#define M             "m.gguf: "
#define KEY(name)     M "key \"" name "\": "
#define TENSOR(name)  M "tensor \"" name "\": "
#define X             KEY("x")
#define Q             TENSOR("blk.0.attn_q.weight")
#define LAST          TENSOR("blk.1.ffn_down_exps.weight")
#define ALIGN         KEY("general.alignment") "must be a power of two in 8..65536 (got "
#define ARCHITECTURE  KEY("general.architecture")
#define KNOWN         " is not supported (known: " HOSTILE_REST
#define LAYERS        ", expected an integer in 1..1024"
#define BASE_RANGE    ", expected a number in 1..1e+15"
#define EPSILON       KEY("llama.attention.layer_norm_rms_epsilon")
#define EPSILON_RANGE ", expected a number in 1e-30..1"
#define N_ROT         KEY("llama.rope.dimension_count")
#define NOT_FINITE    M "a logit is not finite in the pass that ends with token 1 at position 0"
#define UNUSED(name)  M "tensor \"" name "\" is not used by this architecture"

#define BAD           SLUICE_FORMAT
#define NEVER         SLUICE_UNSUPPORTED

/* clang-format off */
const struct hostile_case hostile_gguf[] = {
    {"G00", "nothing is wrong", base, 0, SLUICE_OK, NULL, 0},
    {"G00", "version 2", version, 2, SLUICE_OK, NULL, 0},
    {"G00", "three good parts", good_split, 0, SLUICE_OK, NULL, 0},

    {"G01", "0 bytes", short_file, 0, BAD, M "header: file is empty", 0},
    {"G02", "3 bytes", short_file, 3, BAD, M "header: file too short (3 bytes, need 24)", 0},
    {"G02", "4 bytes", short_file, 4, BAD, M "header: file too short (4 bytes, need 24)", 0},
    {"G02", "23 bytes", short_file, 23, BAD, M "header: file too short (23 bytes, need 24)", 0},
    {"G03", "GGML", magic, 0x4c4d4747, BAD, M "header: not a GGUF file (magic 47474d4c)", 0},
    {"G03", "GGJT", magic, 0x544a4747, BAD, M "header: not a GGUF file (magic 47474a54)", 0},
    {"G03", "a zip file", magic, 0x04034b50, BAD, M "header: not a GGUF file (magic 504b0304)", 0},
    {"G03", "zeros", magic, 0, BAD, M "header: not a GGUF file (magic 00000000)", 0},
    {"G03", "Git LFS pointer", pointer, 0, BAD,
     M "is a Git LFS pointer, not the file itself: fetch it with git lfs pull", 0},
    {"G04", "FUGG", magic, 0x47475546, NEVER, M "header: big-endian GGUF is not supported", 0},
    {"G04", "version 3 of big-endian files", version, 3u << 24, NEVER, M "header: big-endian GGUF is not supported", 0},
    {"G04", "version 2 of big-endian files", version, 2u << 24, NEVER, M "header: big-endian GGUF is not supported", 0},
    {"G05", "version 0", version, 0, NEVER, M "header: GGUF version 0 is not supported (2 or 3)", 0},
    {"G05", "version 1", version, 1, NEVER, M "header: GGUF version 1 is not supported (2 or 3)", 0},
    {"G05", "version 4", version, 4, NEVER, M "header: GGUF version 4 is not supported (2 or 3)", 0},
    {"G05", "version 2^32-1", version, UINT32_MAX, NEVER,
     M "header: GGUF version 4294967295 is not supported (2 or 3)", 0},
    {"G06", "2^64-1 tensors", tensor_count, UINT64_MAX, BAD,
     M "header: tensor count 18446744073709551615 exceeds the limit 1048576", 0},
    {"G06", "2^63 tensors", tensor_count, 1ull << 63, BAD,
     M "header: tensor count 9223372036854775808 exceeds the limit 1048576", 0},
    {"G06", "2^40 tensors", tensor_count, 1ull << 40, BAD,
     M "header: tensor count 1099511627776 exceeds the limit 1048576", 0},
    {"G06", "2^20+1 tensors", tensor_count, (1 << 20) + 1, BAD,
     M "header: tensor count 1048577 exceeds the limit 1048576", 0},
    {"G07", "1000000 tensors", tensor_count, 1000000, BAD,
     M "header: tensor count 1000000 cannot fit in the remaining 30856 bytes", 0},
    {"G07", "one tensor more than present", more_tensors, 1, BAD, M "tensor 23: bad name", 0},
    {"G07", "one tensor fewer than present", more_tensors, UINT64_MAX, BAD,
     M "missing tensors: blk.1.ffn_down_exps.weight", 0},
    {"G07", "no tensors", tensor_count, 0, BAD, M "holds no tensors: a vocabulary only", 0},
    {"G07", "header alone", short_file, 24, BAD, M "header: tensor count 23 cannot fit in the remaining 0 bytes", 0},
    {"G08", "2^64-1 keys", key_count, UINT64_MAX, BAD,
     M "header: key count 18446744073709551615 exceeds the limit 65536", 0},
    {"G08", "2^63 keys", key_count, 1ull << 63, BAD,
     M "header: key count 9223372036854775808 exceeds the limit 65536", 0},
    {"G08", "65537 keys", key_count, 65537, BAD, M "header: key count 65537 exceeds the limit 65536", 0},
    {"G08", "65536 keys", key_count, 65536, BAD,
     M "header: key count 65536 cannot fit in the remaining 30856 bytes", 0},
    {"G09", "one key more than present", more_keys, 1, BAD,
     M "tensor 0: name length 2251799813685248 exceeds the limit 64", 0},
    {"G09", "one key more than present, then the end", missing_key, 0, BAD, M "key 16: unexpected end of file", 0},
    {"G09", "one key fewer than present", more_keys, UINT64_MAX, BAD,
     TENSOR("tokenizer.ggml.eos_token_id") "unknown type 8192", 0},
    {"G09", "no keys", key_count, 0, BAD, TENSOR("general.architecture") "8 dimensions (1..4)", 0},

    {"G10", "length 2^64-1", key_length, UINT64_MAX, BAD,
     M "key 16: length 18446744073709551615 exceeds the limit 65535", 0},
    {"G10", "length 2^63", key_length, 1ull << 63, BAD,
     M "key 16: length 9223372036854775808 exceeds the limit 65535", 0},
    {"G10", "length 65536", key_length, 65536, BAD, M "key 16: length 65536 exceeds the limit 65535", 0},
    {"G11", "length 0", key_length, 0, BAD, M "key 16: empty name", 0},
    {"G12", "past the end", key_length, 65535, BAD, M "key 16: length 65535 exceeds the remaining 30025 bytes", 0},
    {"G13", "a NUL", key_bytes, 0x620061, BAD, M "key 16: name is not printable ASCII", 0},
    {"G13", "a newline", key_bytes, 0x620a61, BAD, M "key 16: name is not printable ASCII", 0},
    {"G13", "a byte 0xff", key_bytes, 0x62ff61, BAD, M "key 16: name is not printable ASCII", 0},
    {"G13", "a letter beyond ASCII", key_bytes, 0x61a9c3, BAD, M "key 16: name is not printable ASCII", 0},
    {"G13", "an escape sequence", key_bytes, 0x325b1b, BAD, M "key 16: name is not printable ASCII", 0},
    {"G14", "the same value twice", key_twice, STRING, BAD, M "key 16: \"general.architecture\" appears twice", 0},
    {"G14", "a value of another type", key_twice, UINT32, BAD, M "key 16: \"general.architecture\" appears twice", 0},
    {"G15", "type 13", value_type, 13, BAD, X "unknown value type 13", 0},
    {"G15", "type 255", value_type, 255, BAD, X "unknown value type 255", 0},
    {"G15", "type 2^31", value_type, 1u << 31, BAD, X "unknown value type 2147483648", 0},
    {"G15", "type 2^32-1", value_type, UINT32_MAX, BAD, X "unknown value type 4294967295", 0},
    {"G15", "elements of type 13", element_type, 13, BAD, X "unknown element type 13", 0},
    {"G15", "elements of type 2^32-1", element_type, UINT32_MAX, BAD, X "unknown element type 4294967295", 0},
    {"G16", "length 2^64-1", string_length, UINT64_MAX, BAD,
     X "string length 18446744073709551615 exceeds the limit 16777216", 0},
    {"G16", "length 2^63", string_length, 1ull << 63, BAD,
     X "string length 9223372036854775808 exceeds the limit 16777216", 0},
    {"G16", "length 2^24+1", string_length, (1 << 24) + 1, BAD,
     X "string length 16777217 exceeds the limit 16777216", 0},
    {"G17", "length 2^24", string_length, 1 << 24, BAD,
     X "string length 16777216 exceeds the remaining 30012 bytes", 0},
    {"G17", "1 byte past the end", string_length, 30013, BAD,
     X "string length 30013 exceeds the remaining 30012 bytes", 0},
    {"G17", "up to the end", string_length, 30012, BAD,
     M "header: tensor count 23 cannot fit in the remaining 0 bytes", 0},
    {"G18", "an array in an array", nested, 1, NEVER, X "array of arrays is not supported", 0},
    {"G18", "1000 deep", nested, 1000, NEVER, X "array of arrays is not supported", 0},
    {"G19", "2^64-1 elements of 8 bytes", longs_count, UINT64_MAX, BAD,
     X "array count 18446744073709551615 exceeds the limit 16777216", 0},
    {"G19", "2^61 elements of 8 bytes", longs_count, 1ull << 61, BAD,
     X "array count 2305843009213693952 exceeds the limit 16777216", 0},
    {"G19", "2^61+1 elements of 8 bytes", longs_count, (1ull << 61) + 1, BAD,
     X "array count 2305843009213693953 exceeds the limit 16777216", 0},
    {"G19", "2^24+1 bytes", bytes_count, (1 << 24) + 1, BAD, X "array count 16777217 exceeds the limit 16777216", 0},
    {"G19", "2^64-1 strings", strings_count, UINT64_MAX, BAD,
     X "array count 18446744073709551615 exceeds the limit 16777216", 0},
    {"G20", "10000000 strings", strings_count, 10000000, BAD,
     X "array of 10000000 strings cannot fit in the remaining 30008 bytes", 0},
    {"G20", "2^24 doubles", doubles_count, 1 << 24, BAD,
     X "array of 16777216 float64 cannot fit in the remaining 30008 bytes", 0},
    {"G20", "30009 bytes", bytes_count, 30009, BAD,
     X "array of 30009 uint8 cannot fit in the remaining 30008 bytes", 0},
    {"G21", "sixth of nine past the end", long_element, 100000, BAD,
     X "element 5: length 100000 exceeds the remaining 30068 bytes", 0},
    {"G21", "sixth of nine of 2^64-1", long_element, UINT64_MAX, BAD,
     X "element 5: length 18446744073709551615 exceeds the limit 16777216", 0},
    {"G22", "7", boolean, 7, BAD, X "boolean must be 0 or 1 (got 7)", 0},
    {"G22", "255", boolean, 255, BAD, X "boolean must be 0 or 1 (got 255)", 0},
    {"G22", "2 in an array", booleans, 0x020100, BAD, X "element 2: boolean must be 0 or 1 (got 2)", 0},
    {"G23", "0", alignment, 0, BAD, ALIGN "0)", 0},
    {"G24", "1", alignment, 1, BAD, ALIGN "1)", 0},
    {"G24", "3", alignment, 3, BAD, ALIGN "3)", 0},
    {"G24", "4", alignment, 4, BAD, ALIGN "4)", 0},
    {"G24", "48", alignment, 48, BAD, ALIGN "48)", 0},
    {"G24", "2^17", alignment, 1 << 17, BAD, ALIGN "131072)", 0},
    {"G24", "2^31", alignment, 1u << 31, BAD, ALIGN "2147483648)", 0},
    {"G25", "int32", alignment_as, INT32, BAD, KEY("general.alignment") "expected uint32, found int32", 0},
    {"G25", "uint64", alignment_as, UINT64, BAD, KEY("general.alignment") "expected uint32, found uint64", 0},
    {"G25", "float32", alignment_as, FLOAT32, BAD, KEY("general.alignment") "expected uint32, found float32", 0},
    {"G25", "string", alignment_as, STRING, BAD, KEY("general.alignment") "expected uint32, found string", 0},
    {"G25", "array", alignment_as, ARRAY, BAD, KEY("general.alignment") "expected uint32, found array of uint32", 0},

    {"G26", "absent", no_architecture, 0, BAD, ARCHITECTURE "missing", 0},
    {"G26", "a number", architecture_as, UINT32, BAD, ARCHITECTURE "found 7, expected a string", 0},
    {"G26", "an array", architecture_as, ARRAY, BAD, ARCHITECTURE "found an array, expected a string", 0},
    {"G26", "empty", architecture, 0, NEVER, ARCHITECTURE "\"\"" KNOWN, 0},
    {"G27", "a path", architecture, 1, NEVER, ARCHITECTURE "\"../../etc\"" KNOWN, 0},
    {"G27", "a NUL", architecture, 2, NEVER, ARCHITECTURE "\"llama\\x00x\"" KNOWN, 0},
    {"G27", "an escape sequence and quotes", architecture, 3, NEVER, ARCHITECTURE "\"a\\x1b[2Jb\\x22\\x5c\"" KNOWN, 0},
    {"G27", "a blank behind it", architecture, 4, NEVER, ARCHITECTURE "\"llama \"" KNOWN, 0},
    {"G27", "no text", architecture, 5, NEVER, ARCHITECTURE "\"\\xff\\xfe\"" KNOWN, 0},
    {"G27", "1 MiB", long_architecture, 1 << 20, NEVER,
     ARCHITECTURE "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...\"" KNOWN, 0},
    {"G28", "string", block_count_as, STRING, BAD, KEY(COUNT) "found \"2\"" LAYERS, 0},
    {"G28", "float32", block_count_as, FLOAT32, BAD, KEY(COUNT) "found 2.0" LAYERS, 0},
    {"G28", "float64", block_count_as, FLOAT64, BAD, KEY(COUNT) "found 2.0" LAYERS, 0},
    {"G28", "bool", block_count_as, BOOL, BAD, KEY(COUNT) "found true" LAYERS, 0},
    {"G28", "array", block_count_as, ARRAY, BAD, KEY(COUNT) "found an array" LAYERS, 0},
    {"G28", "absent", no_block_count, 0, BAD, KEY(COUNT) "missing", 0},
    {"G29", "0", block_count, 0, BAD, KEY(COUNT) "found 0" LAYERS, 0},
    {"G29", "1025", block_count, 1025, BAD, KEY(COUNT) "found 1025" LAYERS, 0},
    {"G29", "2^32-1", block_count, UINT32_MAX, BAD, KEY(COUNT) "found 4294967295" LAYERS, 0},
    {"G29", "-2", block_count_signed, UINT64_MAX - 1, BAD, KEY(COUNT) "found -2" LAYERS, 0},
    {"G29", "2^63", block_count_long, 1ull << 63, BAD, KEY(COUNT) "found 9223372036854775807 or more" LAYERS, 0},
    {"G29", "2^64-1", block_count_long, UINT64_MAX, BAD, KEY(COUNT) "found 9223372036854775807 or more" LAYERS, 0},
    {"G29", "a layer fewer than there are", block_count, 1, SLUICE_OK,
     M "10 tensors are not used by this architecture, the first is \"blk.1.attn_k.weight\"", 0},
    {"G29", "a layer more than there are", block_count, 3, BAD,
     M "missing tensors: blk.2.attn_norm.weight, blk.2.attn_q.weight, blk.2.attn_k.weight, blk.2.attn_v.weight, "
       "blk.2.attn_output.weight, blk.2.ffn_norm.weight, blk.2.ffn_gate_inp.weight, blk.2.ffn_gate_exps.weight, "
       "blk.2.ffn_up_exps.weight, blk.2.ffn_down_exps.weight", 0},
    {"G29", "513", block_count, 513, BAD, M "missing tensors: blk.2.attn_norm.weight, " HOSTILE_REST, 0},
    {"G29", "1024", block_count, 1024, BAD, M "missing tensors: blk.2.attn_norm.weight, " HOSTILE_REST, 0},
    {"G30", "0", heads, 0, BAD, KEY(HEADS) "found 0" LAYERS, 0},
    {"G30", "1025", heads, 1025, BAD, KEY(HEADS) "found 1025" LAYERS, 0},
    {"G30", "string", heads_as, STRING, BAD, KEY(HEADS) "found \"4\"" LAYERS, 0},
    {"G30", "0 in a layer", heads_per_layer, PAIR(4, 0), BAD, KEY(HEADS "[1]") "found 0" LAYERS, 0},
    {"G30", "-4 in a layer", heads_per_layer, PAIR(-4, 4), BAD, KEY(HEADS "[0]") "found -4" LAYERS, 0},
    {"G30", "other than in the first layer", heads_per_layer, PAIR(4, 2), NEVER,
     KEY(HEADS "[1]") "found 2, expected 4 as in layer 0", 0},
    {"G30", "too short an array", heads_as, ARRAY, BAD,
     KEY(HEADS) "found 1 values, expected one, or one for each of 2 layers", 0},
    {"G30", "5, which does not divide the width", heads, 5, BAD,
     KEY(HEADS) "5 heads are not a multiple of 2 key-value heads", 0},
    {"G31", "3 of 4", kv_heads, 3, BAD, KEY(HEADS) "4 heads are not a multiple of 3 key-value heads", 0},
    {"G31", "8 of 4", kv_heads, 8, BAD, KEY(HEADS) "4 heads are not a multiple of 8 key-value heads", 0},
    {"G31", "0", kv_heads, 0, BAD, KEY(HEADS "_kv") "found 0" LAYERS, 0},
    {"G31", "2^32-1", kv_heads, UINT32_MAX, BAD, KEY(HEADS "_kv") "found 4294967295" LAYERS, 0},
    {"G31", "0 in all layers", kv_heads_per_layer, PAIR(0, 0), BAD,
     KEY(HEADS "_kv") "found 0 for every layer, expected one with attention", 0},
    {"G31", "0 in a layer", kv_heads_per_layer, PAIR(2, 0), NEVER,
     KEY(HEADS "_kv[1]") "found 0, expected 2 as in layer 0", 0},
    {"G31", "too short an array", kv_heads_as, ARRAY, BAD,
     KEY(HEADS "_kv") "found 1 values, expected one, or one for each of 2 layers", 0},
    {"G32", "0", used, 0, BAD, KEY(USED) "found 0, expected an integer in 1..64", 0},
    {"G32", "5 of 4", used, 5, BAD, KEY(USED) "found 5, expected at most the number of experts, 4", 0},
    {"G32", "65", used, 65, BAD, KEY(USED) "found 65, expected an integer in 1..64", 0},
    {"G32", "0 in a layer", used_per_layer, PAIR(2, 0), BAD,
     KEY(USED "[1]") "found 0, expected an integer in 1..64", 0},
    {"G32", "absent", no_used, 0, BAD, KEY(USED) "missing", 0},
    {"G32", "no experts", experts, 0, BAD,
     M "missing tensors: blk.0.ffn_gate.weight, blk.1.ffn_gate.weight, blk.0.ffn_up.weight, blk.1.ffn_up.weight, "
       "blk.0.ffn_down.weight, blk.1.ffn_down.weight", 0},
    {"G32", "4097 experts", experts, 4097, BAD,
     KEY("llama.expert_count") "found 4097, expected an integer in 1..4096", 0},
    {"G33", "NaN", freq_base, NAN_BITS, BAD, KEY("llama.rope.freq_base") "found nan" BASE_RANGE, 0},
    {"G33", "infinity", freq_base, INF_BITS, BAD, KEY("llama.rope.freq_base") "found inf" BASE_RANGE, 0},
    {"G33", "0", freq_base, 0, BAD, KEY("llama.rope.freq_base") "found 0" BASE_RANGE, 0},
    {"G33", "-1", freq_base, MINUS_1_BITS, BAD, KEY("llama.rope.freq_base") "found -1" BASE_RANGE, 0},
    {"G33", "0.5", freq_base, HALF_BITS, BAD, KEY("llama.rope.freq_base") "found 0.5" BASE_RANGE, 0},
    {"G34", "NaN", epsilon, NAN_BITS, BAD, EPSILON "found nan" EPSILON_RANGE, 0},
    {"G34", "infinity", epsilon, INF_BITS, BAD, EPSILON "found inf" EPSILON_RANGE, 0},
    {"G34", "0", epsilon, 0, BAD, EPSILON "found 0" EPSILON_RANGE, 0},
    {"G34", "-1", epsilon, MINUS_1_BITS, BAD, EPSILON "found -1" EPSILON_RANGE, 0},
    {"G34", "1e30", epsilon, E30_BITS, BAD, EPSILON "found 1.00000002e+30" EPSILON_RANGE, 0},
    {"G35", "0", n_rot, 0, BAD, N_ROT "found 0, expected an integer in 2..1024", 0},
    {"G35", "7", n_rot, 7, BAD, N_ROT "found 7, expected an even number", 0},
    {"G35", "96", n_rot, 96, BAD, N_ROT "found 96, expected at most the head dimension, 8", 0},
    {"G35", "4", n_rot, 4, NEVER, N_ROT "found 4, expected the whole head, 8", 0},
    {"G35", "2^32-1", n_rot, UINT32_MAX, BAD, N_ROT "found 4294967295, expected an integer in 2..1024", 0},
    {"G35", "float32", n_rot_as, FLOAT32, BAD, N_ROT "found 8.0, expected an integer in 2..1024", 0},
    {"G36", "0", hidden_size, 0, BAD, KEY("llama.embedding_length") "found 0, expected an integer in 1..131072", 0},
    {"G36", "2^32-1", hidden_size, UINT32_MAX, BAD,
     KEY("llama.embedding_length") "found 4294967295, expected an integer in 1..131072", 0},
    {"G36", "131073", hidden_size, 131073, BAD,
     KEY("llama.embedding_length") "found 131073, expected an integer in 1..131072", 0},
    {"G36", "64", hidden_size, 64, BAD, TENSOR("token_embd.weight") "shape [8,32], expected [8,64]", 0},
    {"G36", "30", hidden_size, 30, BAD,
     KEY(HEADS) "4 does not divide embedding_length 30, and attention.key_length is missing", 0},
    {"G36", "width 0 of the experts", ffn_size, 0, BAD,
     KEY("llama.feed_forward_length") "found 0, expected an integer in 1..16777216", 0},
    {"G36", "width 64 of the experts", ffn_size, 64, BAD,
     TENSOR("blk.0.ffn_gate_exps.weight") "shape [4,32,32], expected [4,64,32]", 0},
    {"G37", "0", n_context, 0, BAD, KEY("llama.context_length") "found 0, expected an integer in 1..16777216", 0},
    {"G37", "2^24+1", n_context, (1 << 24) + 1, BAD,
     KEY("llama.context_length") "found 16777217, expected an integer in 1..16777216", 0},
    {"G37", "2^63", n_context_long, 1ull << 63, BAD,
     KEY("llama.context_length") "found 9223372036854775807 or more, expected an integer in 1..16777216", 0},

    {"G38", "count 4", split_count, 4, BAD, PART_1 ": split: file name says 3 parts, key says 4", 0},
    {"G38", "count 1", split_count, 1, BAD, PART_1 ": split: file name says 3 parts, key says 1", 0},
    {"G38", "count 0", split_count, 0, BAD, PART_1 ": split: file name says 3 parts, key says 1", 0},
    {"G38", "count 65535", split_count, 65535, BAD, PART_1 ": key \"split.count\": 65535 is outside 0..4096", 0},
    {"G38", "count as text", split_count_as_text, 0, BAD,
     PART_1 ": key \"split.count\": expected an unsigned integer, found string", 0},
    {"G38", "part 3 of 3, counted from 0", split_no, 3, BAD, PART_1 ": key \"split.no\": 3 is outside 0..2", 0},
    {"G38", "part 65535", split_no, 65535, BAD, PART_1 ": key \"split.no\": 65535 is outside 0..2", 0},
    {"G38", "part 1 says it is part 2", split_no, 1, BAD, PART_1 ": split: file name says part 1, key says part 2", 0},
    {"G38", "renamed", split_renamed, 0, BAD,
     M "split: part 1 of 3 must have a name that ends in -00001-of-00003.gguf", 0},
    {"G39", "part 2 missing", part_missing, 1, BAD, PART_1 ": split: part 2 of 3 is missing (" PART_2 ")", 0},
    {"G39", "part 3 missing", part_missing, 2, BAD, PART_1 ": split: part 3 of 3 is missing (" PART_3 ")", 0},
    {"G39", "part 1 missing in a folder", part_missing, 0, BAD, "model: split: part 1 of 3 is missing (" PART_1 ")", 0},
    {"G39", "part 1 given twice", first_part_twice, 0, BAD,
     PART_2 ": split: file name says part 2, key says part 1", 0},
    {"G39", "part 2 of 2", part_of_another, 2, BAD, PART_2 ": split: file name says 3 parts, key says 2", 0},
    {"G39", "part 2 of another architecture", part_of_another, 3, BAD,
     PART_2 ": split: architecture \"qwen2\", but \"llama\" in the first part", 0},
    {"G39", "24 tensors", split_total, 24, BAD,
     PART_1 ": split: split.tensors.count is 24, but the parts have 23 tensors", 0},
    {"G39", "-1 tensors", split_total, UINT32_MAX, BAD,
     PART_1 ": key \"split.tensors.count\": -1 is outside 0..1048576", 0},
    {"G39", "part 2 empty", part_cut, 0, BAD, PART_2 ": header: file is empty", 0},
    {"G39", "part 2 cut", part_cut, 100, BAD,
     PART_2 ": header: tensor count 8 cannot fit in the remaining 76 bytes", 0},
    {"G40", "part 2", good_split, 1, SLUICE_ARGUMENT, PART_2 ": split: open the first part (" PART_1 ")", 0},
    {"G40", "part 3", good_split, 2, SLUICE_ARGUMENT, PART_3 ": split: open the first part (" PART_1 ")", 0},

    {"T01", "length 65", name_length, 65, BAD, M "tensor 23: name length 65 exceeds the limit 64", 0},
    {"T01", "length 2^64-1", name_length, UINT64_MAX, BAD,
     M "tensor 23: name length 18446744073709551615 exceeds the limit 64", 0},
    {"T01", "length 2^63", name_length, 1ull << 63, BAD,
     M "tensor 23: name length 9223372036854775808 exceeds the limit 64", 0},
    {"T01", "past the end", name_cut, 59, BAD, M "tensor 23: name length 60 exceeds the remaining 59 bytes", 0},
    {"T02", "empty", name_length, 0, BAD, M "tensor 23: bad name", 0},
    {"T02", "a NUL", name_bytes, 0x620061, BAD, M "tensor 23: bad name", 0},
    {"T02", "a newline", name_bytes, 0x620a61, BAD, M "tensor 23: bad name", 0},
    {"T02", "a byte 0xff", name_bytes, 0x62ff61, BAD, M "tensor 23: bad name", 0},
    {"T02", "half of a surrogate pair", name_bytes, 0x80a0ed, BAD, M "tensor 23: bad name", 0},
    {"T03", "the keys' name", rename_tensor, K_0, BAD, TENSOR("blk.0.attn_k.weight") "appears twice", 0},
    {"T03", "the first name", rename_tensor, EMBEDDING, BAD, TENSOR("token_embd.weight") "appears twice", 0},
    {"T03", "in two parts", tensor_in_two_parts, 0, BAD,
     PART_2 ": tensor \"blk.0.attn_output.weight\": appears twice", 0},
    {"T04", "0", n_dims, 0, BAD, TENSOR("x") "0 dimensions (1..4)", 0},
    {"T04", "5", n_dims, 5, BAD, TENSOR("x") "5 dimensions (1..4)", 0},
    {"T04", "2^32-1", n_dims, UINT32_MAX, BAD, TENSOR("x") "4294967295 dimensions (1..4)", 0},
    {"T05", "the innermost", zero_dim, 0, BAD, TENSOR("blk.0.ffn_gate_exps.weight") "dimension 0 is 0", 0},
    {"T05", "the second", zero_dim, 1, BAD, TENSOR("blk.0.ffn_gate_exps.weight") "dimension 1 is 0", 0},
    {"T05", "the outermost", zero_dim, 2, BAD, TENSOR("blk.0.ffn_gate_exps.weight") "dimension 2 is 0", 0},
    {"T05", "the only one", zero_in_vector, 0, BAD, TENSOR("blk.0.attn_norm.weight") "dimension 0 is 0", 0},
    {"T06", "2^63", dim_0, 1ull << 63, BAD, Q "dimension 0 is too large", 0},
    {"T06", "2^64-1", dim_1, UINT64_MAX, BAD, Q "dimension 1 is too large", 0},
    {"T06", "2^40+1", dim_1, (1ull << 40) + 1, BAD, Q "dimension 1 is too large", 0},
    {"T07", "2^42 x 2^22", powers_f16, 0x2a16, BAD, Q "element count overflows", 0},
    {"T07", "2^62 x 2", powers_f16, 0x3e01, BAD, Q "element count overflows", 0},
    {"T07", "2^63-1 x 2 of a byte", twice_i8, INT64_MAX, BAD, Q "element count overflows", 0},
    {"T08", "2^32 x 2^32", powers_f16, 0x2020, BAD, Q "element count overflows", 0},
    {"T08", "2^33 x 2^32", powers_q8, 0x2120, BAD, Q "element count overflows", 0},
    {"T09", "2^40 x 2^22 of 4 bytes", powers_f32, 0x2816, BAD, Q "size in bytes overflows", 0},
    {"T09", "2^40 x 2^22 of 2 bytes", powers_f16, 0x2816, BAD,
     Q "bytes 1056..9223372036854776864 lie outside the data section (30000)", 0},
    {"T09", "2^40 x 2^22 of blocks", powers_q8, 0x2816, BAD,
     Q "bytes 1056..4899916394579100704 lie outside the data section (30000)", 0},
    {"T10", "2^62-1 of 4 bytes", row_f32, (1ull << 62) - 1, BAD, Q "size in bytes overflows", 0},
    {"T10", "2^61-1 of 8 bytes", row_f64, (1ull << 61) - 1, BAD, Q "size in bytes overflows", 0},
    {"T11", "2^62 + 2^63 + 2^62", sum_wraps, 0, BAD, TENSOR("blk.0.attn_v.weight") "total size overflows", 0},
    {"T12", "4, which was removed", type_q, 4, BAD, Q "unknown type 4", 0},
    {"T12", "5, which was removed", type_q, 5, BAD, Q "unknown type 5", 0},
    {"T12", "31, which was removed", type_q, 31, BAD, Q "unknown type 31", 0},
    {"T12", "200", type_q, 200, BAD, Q "unknown type 200", 0},
    {"T12", "2^31", type_q, 1u << 31, BAD, Q "unknown type 2147483648", 0},
    {"T12", "2^32-1", type_q, UINT32_MAX, BAD, Q "unknown type 4294967295", 0},
    {"T13", "TQ1_0", type_q, TQ1_0, NEVER, Q "type tq1_0 is not supported", 0},
    {"T13", "Q8_1", type_q, Q8_1, NEVER, Q "type q8_1 is not supported", 0},
    {"T14", "row of 100", row_q4, 100, BAD, Q "row of 100 is not a multiple of block 32", 0},
    {"T14", "row of 31", row_q4, 31, BAD, Q "row of 31 is not a multiple of block 32", 0},
    {"T14", "row of 1000", row_q4_k, 1000, BAD, Q "row of 1000 is not a multiple of block 256", 0},
    {"T15", "8 bytes behind", last_offset, 25320, BAD, LAST "offset 25320 is not aligned to 32", 0},
    {"T15", "1", last_offset, 1, BAD, LAST "offset 1 is not aligned to 32", 0},
    {"T15", "aligned to 32, but not to 4096", wide_alignment, 4096, BAD,
     TENSOR("output_norm.weight") "offset 512 is not aligned to 4096", 0},
    {"T16", "2^22", last_offset, 1 << 22, BAD, LAST "bytes 4194304..4196608 lie outside the data section (28576)", 0},
    {"T16", "2^63", last_offset, 1ull << 63, BAD,
     LAST "bytes 9223372036854775808..9223372036854778112 lie outside the data section (28576)", 0},
    {"T16", "2^64-32", last_offset, UINT64_MAX - 31, BAD,
     LAST "bytes 18446744073709551584..18446744073709551615 lie outside the data section (28576)", 0},
    {"T16", "2^64-2304, which ends at 0", last_offset, UINT64_MAX - 2303, BAD,
     LAST "bytes 18446744073709549312..18446744073709551615 lie outside the data section (28576)", 0},
    {"T16", "2^64-32 of the first", first_offset, UINT64_MAX - 31, BAD,
     TENSOR("token_embd.weight") "bytes 18446744073709551584..18446744073709551615 lie outside the data section "
       "(28576)", 0},
    {"T17", "1 byte past the end", cut_end, 1, BAD, LAST "bytes 26272..28576 lie outside the data section (28575)", 0},
    {"T17", "all of it past the end", cut_end, 2304, BAD,
     LAST "bytes 26272..28576 lie outside the data section (26272)", 0},
    {"T17", "half of the file is there", short_file, 14000, BAD,
     TENSOR("blk.0.ffn_up_exps.weight") "bytes 10144..12448 lie outside the data section (11696)", 0},
    {"T18", "the same place", overlap, 0, BAD, TENSOR("blk.0.attn_v.weight") "overlaps \"blk.0.attn_k.weight\"", 0},
    {"T18", "one byte", overlap, 992, BAD, TENSOR("blk.0.attn_v.weight") "overlaps \"blk.0.attn_k.weight\"", 0},
    {"T18", "within", overlap, 32, BAD, TENSOR("blk.0.attn_v.weight") "overlaps \"blk.0.attn_k.weight\"", 0},
    {"T18", "at the beginning", last_offset, 0, BAD, LAST "overlaps \"token_embd.weight\"", 0},
    {"T19", "32 bytes", gap, 32, SLUICE_OK, NULL, 0},
    {"T19", "64 bytes", gap, 64, BAD, TENSOR("blk.0.attn_v.weight") "gap of 64 bytes", 0},
    {"T19", "2^20 bytes", gap, 1 << 20, BAD, TENSOR("blk.0.attn_v.weight") "gap of 1048576 bytes", 0},
    {"T19", "2^20 bytes at first", gap_at_first, 1 << 20, BAD, TENSOR("token_embd.weight") "gap of 1048576 bytes", 0},
    {"T20", "in the padding", cut_before_data, 1, BAD, M "data: section starts at 2304 but the file has 2303 bytes", 0},
    {"T20", "before any data", cut_before_data, 0, BAD,
     TENSOR("token_embd.weight") "bytes 0..512 lie outside the data section (0)", 0},
    {"T21", "32 bytes", trailing, 32, SLUICE_OK, NULL, 0},
    {"T21", "33 bytes", trailing, 33, SLUICE_OK, M "data: 33 bytes after the last tensor", 0},
    {"T21", "2^20 bytes", trailing, 1 << 20, SLUICE_OK, M "data: 1048576 bytes after the last tensor", 0},

    {"T22", "3 experts", n_experts, 3, BAD,
     TENSOR("blk.0.ffn_gate_exps.weight") "shape [3,32,32], expected [4,32,32]", 0},
    {"T22", "5 experts", n_experts, 5, BAD,
     TENSOR("blk.0.ffn_gate_exps.weight") "shape [5,32,32], expected [4,32,32]", 0},
    {"T22", "3 experts in all tensors", all_experts, 3, BAD,
     TENSOR("blk.0.ffn_gate_inp.weight") "shape [3,32], expected [4,32]", 0},
    {"T22", "two dimensions", flat_experts, 0, BAD,
     TENSOR("blk.0.ffn_gate_exps.weight") "shape [128,32], expected [4,32,32]", 0},
    {"T22", "9 tokens", long_vocabulary, 9, BAD, TENSOR("token_embd.weight") "shape [9,32], expected [8,32]", 0},
    {"T22", "7 tokens", long_vocabulary, 7, BAD, TENSOR("token_embd.weight") "shape [7,32], expected [8,32]", 0},
    {"T22", "norm of 31", norm_length, 31, BAD, TENSOR("blk.0.ffn_norm.weight") "shape [31], expected [32]", 0},
    {"T22", "norm of 2^20", norm_length, 1 << 20, BAD,
     TENSOR("blk.0.ffn_norm.weight") "shape [1048576], expected [32]", 0},
    {"T23", "keys", transposed, K_0, BAD, TENSOR("blk.0.attn_k.weight") "shape [32,16], expected [16,32]", 0},
    {"T23", "router", transposed, ROUTER_0, BAD,
     TENSOR("blk.0.ffn_gate_inp.weight") "shape [32,4], expected [4,32]", 0},
    {"T23", "norm of two dimensions", norm_of_rows, 0, BAD,
     TENSOR("blk.0.attn_norm.weight") "shape [1,32], expected [32]", 0},
    {"T24", "router of layer 1", missing_tensor, NORM_1 + ROUTER_0 - NORM_0, BAD,
     M "missing tensors: blk.1.ffn_gate_inp.weight", 0},
    {"T24", "last norm", missing_tensor, FINAL_NORM, BAD, M "missing tensors: output_norm.weight", 0},
    {"T24", "embedding", missing_tensor, EMBEDDING, BAD, M "missing tensors: token_embd.weight", 0},
    {"T24", "values", missing_tensor, V_0, BAD, M "missing tensors: blk.0.attn_v.weight", 0},
    {"T24", "head, which is then the embedding", missing_tensor, HEAD, SLUICE_OK, NULL, 0},
    {"T24", "all of layer 1", missing_from, NORM_1, BAD,
     M "missing tensors: blk.1.attn_norm.weight, blk.1.attn_q.weight, blk.1.attn_k.weight, blk.1.attn_v.weight, "
       "blk.1.attn_output.weight, blk.1.ffn_norm.weight, blk.1.ffn_gate_inp.weight, blk.1.ffn_gate_exps.weight, "
       "blk.1.ffn_up_exps.weight, blk.1.ffn_down_exps.weight", 0},
    {"T25", "norm of Q4_0", type_of_norm, Q4_0, NEVER,
     TENSOR("blk.0.attn_norm.weight") "type Q4_0, expected F32, F16 or BF16", 0},
    {"T25", "norm of I8", type_of_norm, I8, NEVER,
     TENSOR("blk.0.attn_norm.weight") "type I8, expected F32, F16 or BF16", 0},
    {"T25", "router of I8", type_of_router, I8, NEVER,
     TENSOR("blk.0.ffn_gate_inp.weight") "type I8, expected a type of weights, such as F16 or Q8_0", 0},
    {"T25", "divisors of F16", divisors_type, F16, NEVER, TENSOR("rope_freqs.weight") "type F16, expected F32", 0},
    {"T25", "divisors of I8", divisors_type, I8, NEVER, TENSOR("rope_freqs.weight") "type I8, expected F32", 0},
    {"T25", "8 divisors for 4 pairs", divisors_length, 8, BAD,
     TENSOR("rope_freqs.weight") "shape [8], expected [4]", 0},

    /* Values are not looked at before they are used, except the few that steer: divisors here. A value that is not
     * finite ends the first pass that meets it, never in an index; `quantize` and --load-as name its tensor. */
    {"T26", "head: NaN", head_scale, 0x7e00, SLUICE_NUMERIC, NOT_FINITE, HOSTILE_PASS},
    {"T26", "head: infinity", head_scale, 0x7c00, SLUICE_NUMERIC, NOT_FINITE, HOSTILE_PASS},
    {"T26", "expert: NaN", expert_scale, 0x7e00, SLUICE_NUMERIC, NOT_FINITE, HOSTILE_PASS},
    {"T26", "expert: infinity", expert_scale, 0xfc00, SLUICE_NUMERIC, NOT_FINITE, HOSTILE_PASS},
    {"T27", "embedding: NaN", embedding_value, 0x7e00, SLUICE_NUMERIC, NOT_FINITE, HOSTILE_PASS},
    {"T27", "query: infinity", q_value, 0x7c00, SLUICE_NUMERIC, NOT_FINITE, HOSTILE_PASS},
    {"T27", "norm: NaN", norm_value, NAN_BITS, SLUICE_NUMERIC, NOT_FINITE, HOSTILE_PASS},
    {"T27", "norm: infinity", norm_value, INF_BITS, SLUICE_NUMERIC, NOT_FINITE, HOSTILE_PASS},
    {"T27", "router: NaN", router_value, NAN_BITS, SLUICE_NUMERIC, NOT_FINITE, HOSTILE_PASS},
    {"T27", "router: infinity", router_value, INF_BITS, SLUICE_NUMERIC, NOT_FINITE, HOSTILE_PASS},
    {"T27", "divisor: NaN", divisor, NAN_BITS, BAD,
     TENSOR("rope_freqs.weight") "element 2: found nan, expected a number > 0", 0},
    {"T27", "divisor: 0", divisor, 0, BAD, TENSOR("rope_freqs.weight") "element 2: found 0, expected a number > 0", 0},
    {"T27", "divisor: -1", divisor, MINUS_1_BITS, BAD,
     TENSOR("rope_freqs.weight") "element 2: found -1, expected a number > 0", 0},
    {"T28", "direction.536870912", extra_tensor, 0, SLUICE_OK, UNUSED("direction.536870912"), 0},
    {"T28", "layer 536870912", extra_tensor, 1, SLUICE_OK, UNUSED("blk.536870912.attn_q.weight"), 0},
    {"T28", "layer 2^32", extra_tensor, 2, SLUICE_OK, UNUSED("blk.4294967296.attn_q.weight"), 0},
    {"T28", "layer -1", extra_tensor, 3, SLUICE_OK, UNUSED("blk.-1.attn_q.weight"), 0},
    {"T28", "expert 536870912", extra_tensor, 4, SLUICE_OK, UNUSED("blk.0.ffn_gate.536870912.weight"), 0},
    {"T29", "2^40 bytes", terabyte, 0, SLUICE_MEMORY,
     M "the weights need " HOSTILE_NUMBER " GB, " HOSTILE_NUMBER " GB are available" HOSTILE_REST, HOSTILE_WEIGHTS},
};
/* clang-format on */
const size_t n_hostile_gguf = sizeof hostile_gguf / sizeof *hostile_gguf;
