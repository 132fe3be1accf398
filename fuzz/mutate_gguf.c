/* Owns mutate_gguf. The file is cut leniently into keys and tensors (weights/gguf.c draws the format), some of them are
 * changed, and a file is put together again. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "mutate.h"
#include "quant/dtype.h"

enum { MAX_ITEMS = 1024, MAX_ITEM_BYTES = 1 << 16, HEADER_BYTES = 24, ALIGNMENT = 32 };
enum { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64, N_TYPES };
static const size_t type_bytes[N_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

struct item { /* a key or a tensor: all its bytes */
    const uint8_t *data;
    size_t n;
};

struct parts {
    struct item keys[MAX_ITEMS], tensors[MAX_ITEMS];
    size_t n_keys, n_tensors;
    const uint8_t *tail; /* what was not understood, or the data section */
    size_t tail_n;
};

static uint64_t load(const uint8_t *at, size_t bytes)
{
    uint64_t v = 0;
    while (bytes-- > 0) v = v << 8 | at[bytes];
    return v;
}

static void store(uint8_t *at, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) at[i] = (uint8_t)(v >> (8 * i));
}

/* ---- cutting ----------------------------------------------------------------------------------------------------- */

/* Bytes of the string at `at`, with its length; 0: it does not fit. */
static size_t string_bytes(const uint8_t *at, size_t rest)
{
    uint64_t n = rest < 8 ? UINT64_MAX : load(at, 8);
    return n > rest || n > rest - 8 ? 0 : (size_t)n + 8;
}

/* Bytes of a value behind its type; 0: it does not fit. */
static size_t value_bytes(uint64_t type, const uint8_t *at, size_t rest)
{
    if (type >= N_TYPES) return 0;
    if (type == STRING) return string_bytes(at, rest);
    if (type != ARRAY) return type_bytes[type] <= rest ? type_bytes[type] : 0;
    if (rest < 12) return 0;
    uint64_t element = load(at, 4), count = load(at + 4, 8);
    size_t n = 12;
    if (element >= N_TYPES || element == ARRAY || count > rest) return 0;
    if (element != STRING) {
        n += (size_t)count * type_bytes[element];
        return n <= rest ? n : 0;
    }
    for (uint64_t i = 0; i < count; i++) {
        size_t one = string_bytes(at + n, rest - n);
        if (!one) return 0;
        n += one;
    }
    return n;
}

static size_t key_bytes(const uint8_t *at, size_t rest)
{
    size_t name = string_bytes(at, rest);
    if (!name || rest - name < 4) return 0;
    size_t value = value_bytes(load(at + name, 4), at + name + 4, rest - name - 4);
    return value ? name + 4 + value : 0;
}

static size_t tensor_bytes(const uint8_t *at, size_t rest)
{
    size_t name = string_bytes(at, rest);
    if (!name || rest - name < 4) return 0;
    uint64_t n_dims = load(at + name, 4);
    size_t n = name + 4;
    if (n_dims > 8 || rest - n < (size_t)n_dims * 8 + 12) return 0;
    return n + (size_t)n_dims * 8 + 12;
}

static bool cut(struct parts *p, const uint8_t *data, size_t n)
{
    if (n < HEADER_BYTES) return false;
    uint64_t n_tensors = load(data + 8, 8), n_keys = load(data + 16, 8);
    const uint8_t *at = data + HEADER_BYTES;
    size_t rest = n - HEADER_BYTES, bytes = 1;
    p->n_keys = p->n_tensors = 0;
    while (p->n_keys < n_keys && p->n_keys < MAX_ITEMS && (bytes = key_bytes(at, rest))) {
        p->keys[p->n_keys++] = (struct item){at, bytes};
        at += bytes;
        rest -= bytes;
    }
    while (bytes && p->n_tensors < n_tensors && p->n_tensors < MAX_ITEMS && (bytes = tensor_bytes(at, rest))) {
        p->tensors[p->n_tensors++] = (struct item){at, bytes};
        at += bytes;
        rest -= bytes;
    }
    p->tail = at;
    p->tail_n = rest;
    return p->n_keys + p->n_tensors > 0;
}

/* ---- changing ---------------------------------------------------------------------------------------------------- */

/* Room for changed items, one behind the other. */
static uint8_t room[8 * MAX_ITEM_BYTES];
static size_t room_used;

static uint8_t *take_room(void)
{
    if (room_used + MAX_ITEM_BYTES > sizeof room) return NULL;
    return room + room_used;
}

static void keep(struct item *item, uint8_t *made, size_t n)
{
    *item = (struct item){made, n};
    room_used += n;
}

static const char *const names[] = {
    "general.architecture", "general.alignment", "general.name", "general.license", "split.count", "split.no",
    "split.tensors.count", "tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens",
    "tokenizer.ggml.token_type", "tokenizer.ggml.scores", "tokenizer.ggml.merges", "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.eos_token_id", "tokenizer.ggml.unknown_token_id", "tokenizer.ggml.add_bos_token",
    "tokenizer.ggml.add_space_prefix", "tokenizer.huggingface.json", "output.weight", "rope_freqs.weight",
    "token_embd.weight", "blk.0.attn_q.weight", "blk.0.attn_qkv.weight", "blk.0.ffn_gate_exps.weight",
    "blk.1.ffn_gate_inp.weight", "blk.0.attn_q.bias",
};
static const char *const suffixes[] = {
    "block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count",
    "attention.head_count_kv", "attention.key_length", "attention.value_length", "attention.sliding_window",
    "attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.dimension_count", "rope.scaling.type",
    "rope.scaling.factor", "rope.scaling.original_context_length", "rope.dimension_sections", "expert_count",
    "expert_used_count", "expert_feed_forward_length", "expert_shared_count", "expert_weights_scale",
    "expert_gating_func", "expert_group_count", "expert_group_used_count", "leading_dense_block_count", "vocab_size",
    "attention.q_lora_rank", "attention.kv_lora_rank", "ssm.conv_kernel", "ssm.state_size", "ssm.group_count",
    "ssm.time_step_rank", "ssm.inner_size", "shortconv.l_cache", "final_logit_softcapping", "nextn_predict_layers",
};
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Another name: a known one, a known ending, or odd bytes. Returns its length with the 8 bytes before it. */
static size_t put_name(uint8_t *out, const struct item *old, struct fuzz_random *r)
{
    size_t old_n = (size_t)load(old->data, 8), n;
    if (old_n > 512) old_n = 512;
    memcpy(out + 8, old->data + 8, old_n);
    uint8_t *dot = memchr(out + 8, '.', old_n);
    size_t kind = fuzz_below(r, 3);
    if (kind == 0 && dot) {
        const char *suffix = suffixes[fuzz_below(r, COUNT(suffixes))];
        n = (size_t)(dot - out - 8) + 1;
        memcpy(dot + 1, suffix, strlen(suffix));
        n += strlen(suffix);
    } else if (kind == 1) {
        const char *name = names[fuzz_below(r, COUNT(names))];
        n = strlen(name);
        memcpy(out + 8, name, n);
    } else {
        n = LLVMFuzzerMutate(out + 8, old_n, 600);
    }
    store(out, n, 8);
    return n + 8;
}

static size_t put_array(uint8_t *out, struct fuzz_random *r)
{
    size_t element = fuzz_below(r, N_TYPES), count = fuzz_below(r, 20), n = 12;
    store(out, element, 4);
    store(out + 4, fuzz_below(r, 16) ? count : fuzz_awkward(r), 8);
    for (size_t i = 0; i < count; i++) {
        size_t bytes = type_bytes[element] ? type_bytes[element] : 8;
        uint64_t v = element == STRING ? 0 : element == BOOL ? fuzz_below(r, 2) : fuzz_awkward(r);
        store(out + n, v, bytes);
        n += bytes;
    }
    return n;
}

/* A value of any type. */
static size_t put_value(uint8_t *out, struct fuzz_random *r)
{
    size_t type = fuzz_below(r, 40) ? fuzz_below(r, N_TYPES) : fuzz_below(r, 20);
    store(out, type, 4);
    if (type == ARRAY) return 4 + put_array(out + 4, r);
    if (type == STRING) {
        size_t n = LLVMFuzzerMutate(out + 12, 0, 64);
        store(out + 4, n, 8);
        return 12 + n;
    }
    size_t bytes = type < N_TYPES ? type_bytes[type] : 4;
    store(out + 4, type == BOOL ? fuzz_below(r, 2) : fuzz_awkward(r), bytes);
    return 4 + bytes;
}

/* The value [n] behind the type, a little different: its type stays. */
static size_t change_value(uint8_t *out, const uint8_t *value, size_t n, struct fuzz_random *r)
{
    uint64_t type = load(value, 4);
    memcpy(out, value, n);
    if (type == STRING) {
        size_t length = LLVMFuzzerMutate(out + 12, n - 12, n - 12 + 64);
        store(out + 4, length, 8);
        return 12 + length;
    }
    if (type != ARRAY) {
        if (fuzz_below(r, 2))
            store(out + 4, fuzz_awkward(r), n - 4);
        else
            store(out + 4, load(out + 4, n - 4) + fuzz_below(r, 5) - 2, n - 4);
        return n;
    }
    uint64_t element = load(value + 4, 4), count = load(value + 8, 8);
    if (element == STRING) { /* one string changes its contents, or the count its number */
        if (fuzz_below(r, 3) == 0) {
            store(out + 8, fuzz_below(r, 2) ? fuzz_awkward(r) : count + 1, 8);
            return n;
        }
        size_t at = 16, which = fuzz_below(r, (size_t)count);
        for (size_t i = 0; i < which; i++) at += 8 + (size_t)load(value + at, 8);
        if (count == 0) return n;
        size_t old = (size_t)load(value + at, 8), rest = n - at - 8 - old;
        size_t length = LLVMFuzzerMutate(out + at + 8, old, old + 32);
        memcpy(out + at + 8 + length, value + at + 8 + old, rest);
        store(out + at, length, 8);
        return at + 8 + length + rest;
    }
    size_t bytes = element < N_TYPES ? type_bytes[element] : 4;
    switch (fuzz_below(r, 4)) {
    case 0: /* shorter */
        count = fuzz_below(r, (size_t)count);
        store(out + 8, count, 8);
        return 16 + (size_t)count * bytes;
    case 1: /* of another type, as far as that goes on */
        element = fuzz_below(r, N_TYPES);
        bytes = element == STRING || element == ARRAY ? 8 : type_bytes[element];
        store(out + 4, element, 4);
        store(out + 8, (n - 16) / bytes, 8);
        return 16 + (n - 16) / bytes * bytes;
    default:
        if (count) store(out + 16 + fuzz_below(r, (size_t)count) * bytes, fuzz_awkward(r), bytes);
        return n;
    }
}

static void change_key(struct item *key, struct fuzz_random *r)
{
    uint8_t *out = take_room();
    if (!out || key->n > MAX_ITEM_BYTES - 4096 || key_bytes(key->data, key->n) != key->n) return; /* changed before */
    size_t name = (size_t)load(key->data, 8) + 8;
    if (fuzz_below(r, 4) == 0) {
        size_t n = put_name(out, key, r);
        memcpy(out + n, key->data + name, key->n - name);
        keep(key, out, n + key->n - name);
        return;
    }
    memcpy(out, key->data, name);
    size_t value = fuzz_below(r, 3) ? change_value(out + name, key->data + name, key->n - name, r)
                                    : put_value(out + name, r);
    keep(key, out, name + value);
}

static void change_tensor(struct item *tensor, struct fuzz_random *r)
{
    uint8_t *out = take_room();
    if (!out || tensor->n > MAX_ITEM_BYTES - 4096 || tensor_bytes(tensor->data, tensor->n) != tensor->n) return;
    size_t name = (size_t)load(tensor->data, 8) + 8, n_dims = (size_t)load(tensor->data + name, 4);
    uint8_t *dims = out + name + 4, *type = dims + 8 * n_dims;
    memcpy(out, tensor->data, tensor->n);
    size_t n = tensor->n, rest;
    switch (fuzz_below(r, 8)) {
    case 0:
        rest = tensor->n - name;
        n = put_name(out, tensor, r);
        memcpy(out + n, tensor->data + name, rest);
        n += rest;
        break;
    case 1: store(type, fuzz_below(r, 42), 4); break;
    case 2: store(type + 4, fuzz_awkward(r), 8); break;
    case 3: /* one dimension more */
        memmove(dims + 8, dims, n - name - 4);
        store(dims, fuzz_below(r, 2) ? 1 : fuzz_awkward(r), 8);
        store(out + name, n_dims + 1, 4);
        n += 8;
        break;
    case 4: /* or one less */
        if (n_dims) {
            memmove(dims, dims + 8, n - name - 12);
            store(out + name, n_dims - 1, 4);
            n -= 8;
        }
        break;
    case 5: store(out + name, fuzz_awkward(r), 4); break;
    case 6:
        if (n_dims > 1) { /* transposed */
            store(dims, load(tensor->data + name + 12, 8), 8);
            store(dims + 8, load(tensor->data + name + 4, 8), 8);
        }
        break;
    default:
        if (n_dims) {
            size_t which = fuzz_below(r, n_dims);
            uint64_t extent = load(dims + 8 * which, 8);
            store(dims + 8 * which, fuzz_below(r, 2) ? fuzz_awkward(r) : extent * 2, 8);
        }
    }
    keep(tensor, out, n);
}

static void change_list(struct item *items, size_t *n, bool tensors, struct fuzz_random *r)
{
    if (*n == 0) return;
    size_t which = fuzz_below(r, *n), other = fuzz_below(r, *n);
    switch (fuzz_below(r, 8)) {
    case 0:
        memmove(items + which, items + which + 1, (*n - which - 1) * sizeof *items);
        --*n;
        break;
    case 1:
        if (*n < MAX_ITEMS) {
            memmove(items + other + 1, items + other, (*n - other) * sizeof *items);
            items[other] = items[which + (which >= other)];
            ++*n;
            if (!tensors && fuzz_below(r, 2)) change_key(&items[other], r);
        }
        break;
    default:
        if (tensors)
            change_tensor(&items[which], r);
        else
            change_key(&items[which], r);
    }
}

/* ---- putting together -------------------------------------------------------------------------------------------- */

/* The tensor's bytes, padded; 0 for what has no sensible size. */
static uint64_t data_bytes(const struct item *tensor)
{
    if (tensor_bytes(tensor->data, tensor->n) != tensor->n) return 0;
    size_t name = (size_t)load(tensor->data, 8) + 8, n_dims = (size_t)load(tensor->data + name, 4);
    const char *known;
    enum dtype type;
    uint64_t count = 1;
    if (!dtype_from_gguf((uint32_t)load(tensor->data + tensor->n - 12, 4), &type, &known)) return 0;
    for (size_t i = 0; i < n_dims; i++) {
        uint64_t extent = load(tensor->data + name + 4 + 8 * i, 8);
        if (extent > 1 << 24) return 0;
        count *= extent;
        if (count > 1 << 24) return 0;
    }
    const struct dtype_info *info = dtype_info(type);
    uint64_t bytes = count / (uint64_t)info->elements_per_block * info->bytes_per_block;
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t put_together(uint8_t *out, size_t capacity, const struct parts *p, bool place, struct fuzz_random *r)
{
    size_t n = HEADER_BYTES;
    uint64_t offset = 0;
    store(out + 8, p->n_tensors, 8);
    store(out + 16, p->n_keys, 8);
    if (fuzz_below(r, 100) == 0) store(out + 8 + 8 * fuzz_below(r, 2), fuzz_awkward(r), 8);
    for (size_t i = 0; i < p->n_keys; i++) {
        if (p->keys[i].n > capacity - n) return n;
        memcpy(out + n, p->keys[i].data, p->keys[i].n);
        n += p->keys[i].n;
    }
    for (size_t i = 0; i < p->n_tensors; i++) {
        if (p->tensors[i].n > capacity - n) return n;
        memcpy(out + n, p->tensors[i].data, p->tensors[i].n);
        n += p->tensors[i].n;
        if (place) store(out + n - 8, offset, 8);
        offset += data_bytes(&p->tensors[i]);
    }
    if (place || p->tail_n > capacity - n) return n;
    memcpy(out + n, p->tail, p->tail_n);
    return n + p->tail_n;
}

size_t mutate_gguf(uint8_t *data, size_t n, size_t capacity, struct fuzz_random *r)
{
    static struct parts p;
    static uint8_t *copy;
    static size_t copy_n;
    if (fuzz_below(r, 12) == 0) return LLVMFuzzerMutate(data, n, capacity);
    if (n > copy_n) {
        free(copy);
        copy = fuzz_need(malloc(n));
        copy_n = n;
    }
    memcpy(copy, data, n);
    if (!cut(&p, copy, n) || capacity < HEADER_BYTES) return LLVMFuzzerMutate(data, n, capacity);
    room_used = 0;
    for (size_t i = 0, times = 1 + fuzz_below(r, 3); i < times; i++) {
        if (fuzz_below(r, 2))
            change_list(p.keys, &p.n_keys, false, r);
        else
            change_list(p.tensors, &p.n_tensors, true, r);
    }
    return put_together(data, capacity, &p, fuzz_below(r, 8) > 0, r);
}
