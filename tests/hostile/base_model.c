/* Owns the good models that cases break (see base_model.h). */
#include "tests/hostile/base_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void need(bool good, const char *what)
{
    if (good) return;
    perror(what);
    abort();
}

/* ---- config.json ------------------------------------------------------------------------------------------------- */

/* As transformers writes it: what the editor below understands. */
static const char config[] = "{\n"
                             "  \"architectures\": [\"Qwen3MoeForCausalLM\"],\n"
                             "  \"attention_bias\": false,\n"
                             "  \"decoder_sparse_step\": 1,\n"
                             "  \"eos_token_id\": 2,\n"
                             "  \"head_dim\": 4,\n"
                             "  \"hidden_act\": \"silu\",\n"
                             "  \"hidden_size\": 8,\n"
                             "  \"intermediate_size\": 12,\n"
                             "  \"max_position_embeddings\": 64,\n"
                             "  \"mlp_only_layers\": [],\n"
                             "  \"model_type\": \"qwen3_moe\",\n"
                             "  \"moe_intermediate_size\": 4,\n"
                             "  \"norm_topk_prob\": true,\n"
                             "  \"num_attention_heads\": 2,\n"
                             "  \"num_experts\": 4,\n"
                             "  \"num_experts_per_tok\": 2,\n"
                             "  \"num_hidden_layers\": 1,\n"
                             "  \"num_key_value_heads\": 1,\n"
                             "  \"rms_norm_eps\": 1e-06,\n"
                             "  \"rope_scaling\": null,\n"
                             "  \"rope_theta\": 10000.0,\n"
                             "  \"sliding_window\": null,\n"
                             "  \"tie_word_embeddings\": false,\n"
                             "  \"use_sliding_window\": false,\n"
                             "  \"vocab_size\": 16\n"
                             "}\n";

struct pair {
    const char *key, *value;
};
enum { MAX_PAIRS = 96 };

/* Cuts indented JSON into the keys of its outermost object and the text of their values. */
static size_t split_config(char *text, struct pair *pairs)
{
    static const char before_key[] = "\n  \"";
    size_t n = 0;
    for (char *at = strstr(text, before_key), *next; at; at = next) {
        char *key = at + strlen(before_key), *value = strchr(key, '"');
        *value = 0;
        value += strlen("\": ");
        next = strstr(value, before_key);
        char *end = next ? next : strstr(value, "\n}");
        if (end[-1] == ',') end--;
        *end = 0;
        need(n < MAX_PAIRS, "keys of a configuration");
        pairs[n++] = (struct pair){key, value};
    }
    return n;
}

static size_t edit_pairs(struct pair *pairs, size_t n, char *edits)
{
    for (char *line = edits, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = 0;
        char *value = strchr(line, '=');
        *value++ = 0;
        size_t i = 0;
        while (i < n && strcmp(pairs[i].key, line) != 0) i++;
        need(i < MAX_PAIRS, "keys of a configuration");
        pairs[i] = (struct pair){line, value};
        if (i == n) n++;
    }
    return n;
}

/* Writes config.json: `text` with edits. */
static void write_config(struct hostile *h, const char *text, const char *edits)
{
    struct pair pairs[MAX_PAIRS];
    char *copy = strdup(text), *changes = strdup(edits ? edits : ""), *out = NULL;
    size_t out_n = 0, n = split_config(copy, pairs), written = 0;
    FILE *file = open_memstream(&out, &out_n);
    need(copy && changes && file, "config.json");
    n = edit_pairs(pairs, n, changes);
    for (size_t i = 0; i < n; i++)
        if (pairs[i].value[0]) fprintf(file, "%s\n  \"%s\": %s", written++ ? "," : "{", pairs[i].key, pairs[i].value);
    fprintf(file, "\n}\n");
    fclose(file);
    folder_write(&h->folder, "config.json", out, out_n);
    free(copy);
    free(changes);
    free(out);
}

void base_config(struct hostile *h, const char *edits) { write_config(h, config, edits); }

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

#define LAYER "model.layers.0."

/* [n, k], or [n] where k is 0; all but BASE_TENSOR. */
static const struct {
    const char *name;
    unsigned n, k;
} rest[] = {
    {"lm_head.weight", 16, 8},
    {"model.embed_tokens.weight", 16, 8},
    {LAYER "input_layernorm.weight", 8, 0},
    {LAYER "post_attention_layernorm.weight", 8, 0},
    {LAYER "self_attn.q_proj.weight", 8, 8},
    {LAYER "self_attn.k_proj.weight", 4, 8},
    {LAYER "self_attn.v_proj.weight", 4, 8},
    {LAYER "self_attn.o_proj.weight", 8, 8},
    {LAYER "self_attn.q_norm.weight", 4, 0},
    {LAYER "self_attn.k_norm.weight", 4, 0},
    {LAYER "mlp.gate.weight", 4, 8},
    {LAYER "mlp.experts.0.gate_proj.weight", 4, 8},
    {LAYER "mlp.experts.0.up_proj.weight", 4, 8},
    {LAYER "mlp.experts.0.down_proj.weight", 8, 4},
    {LAYER "mlp.experts.1.gate_proj.weight", 4, 8},
    {LAYER "mlp.experts.1.up_proj.weight", 4, 8},
    {LAYER "mlp.experts.1.down_proj.weight", 8, 4},
    {LAYER "mlp.experts.2.gate_proj.weight", 4, 8},
    {LAYER "mlp.experts.2.up_proj.weight", 4, 8},
    {LAYER "mlp.experts.2.down_proj.weight", 8, 4},
    {LAYER "mlp.experts.3.gate_proj.weight", 4, 8},
    {LAYER "mlp.experts.3.up_proj.weight", 4, 8},
    {LAYER "mlp.experts.3.down_proj.weight", 8, 4},
};
enum { N_REST = sizeof rest / sizeof *rest };

/* Appends the entries of all other tensors, from byte `at` of the data on, and returns where they end. */
static uint64_t put_rest(FILE *header, bool first, uint64_t at)
{
    for (size_t i = 0; i < N_REST; i++) {
        const uint64_t bytes = sizeof(float) * (uint64_t)rest[i].n * (rest[i].k ? rest[i].k : 1);
        char shape[32];
        snprintf(shape, sizeof shape, rest[i].k ? "%u,%u" : "%u", rest[i].n, rest[i].k);
        fprintf(header, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%llu,%llu]}",
                first && i == 0 ? "" : ",", rest[i].name, shape, (unsigned long long)at,
                (unsigned long long)(at + bytes));
        at += bytes;
    }
    return at;
}

void base_weights(struct hostile *h, const char *file, const struct base_weights *weights)
{
    const struct base_weights w = weights ? *weights : (struct base_weights){0};
    char *text = NULL;
    size_t n = 0;
    FILE *header = open_memstream(&text, &n);
    need(header, file);
    fprintf(header, "{\"__metadata__\":%s,\"%s\":{%s}", w.metadata ? w.metadata : "{\"format\":\"pt\"}",
            w.name ? w.name : BASE_TENSOR, w.entry ? w.entry : BASE_ENTRY);
    const uint64_t end = put_rest(header, false, BASE_BYTES + w.gap);
    fprintf(header, "%s%s}", w.more ? "," : "", w.more ? w.more : "");
    fclose(header);
    folder_write_header(&h->folder, file, text, NULL, end + w.trailing);
    free(text);
}

void base_rest(struct hostile *h, const char *file)
{
    char *text = NULL;
    size_t n = 0;
    FILE *header = open_memstream(&text, &n);
    need(header, file);
    fprintf(header, "{");
    const uint64_t end = put_rest(header, true, 0);
    fprintf(header, "}");
    fclose(header);
    folder_write_header(&h->folder, file, text, NULL, end);
    free(text);
}

void base_model(struct hostile *h)
{
    base_config(h, NULL);
    base_weights(h, "model.safetensors", NULL);
}

void base_shards(struct hostile *h, const char *first, const char *total)
{
    const struct test_tensor alone = {BASE_TENSOR, "F32", 1, {8}, NULL};
    char *text = NULL;
    size_t n = 0;
    FILE *index = open_memstream(&text, &n);
    need(index, BASE_INDEX);
    fprintf(index, "{\"metadata\":{\"total_size\":%s},\"weight_map\":{%s", total ? total : "3584",
            first ? first : "\"" BASE_TENSOR "\":\"" BASE_SHARD_1 "\",");
    for (size_t i = 0; i < N_REST; i++) fprintf(index, "%s\"%s\":\"" BASE_SHARD_2 "\"", i ? "," : "", rest[i].name);
    fprintf(index, "}}\n");
    fclose(index);
    base_config(h, NULL);
    folder_write_tensors(&h->folder, BASE_SHARD_1, &alone, 1);
    base_rest(h, BASE_SHARD_2);
    folder_write(&h->folder, BASE_INDEX, text, n);
    free(text);
}

/* ---- golden models ----------------------------------------------------------------------------------------------- */

static FILE *open_golden(const char *name, const char *file)
{
    char path[1024];
    snprintf(path, sizeof path, SLUICE_TEST_DIR "/golden/models/%s/%s", name, file);
    FILE *f = fopen(path, "rb");
    need(f, path);
    return f;
}

void base_golden(struct hostile *h, const char *name, const char *edits)
{
    static char text[65536];
    FILE *file = open_golden(name, "config.json");
    size_t n = fread(text, 1, sizeof text - 1, file);
    text[n] = 0;
    fclose(file);
    write_config(h, text, edits);

    file = open_golden(name, "model.safetensors");
    n = fread(text, 1, sizeof text, file);
    need(n > 8 && fseek(file, 0, SEEK_END) == 0, name);
    const long bytes = ftell(file);
    fclose(file);
    size_t header = 8; /* the length of the header, and the header */
    for (int i = 0; i < 8; i++) header += (size_t)(unsigned char)text[i] << (8 * i);
    need(header <= n, name);
    folder_write(&h->folder, "model.safetensors", text, header);
    need(truncate(folder_path(&h->folder, "model.safetensors"), bytes) == 0, name);
}

void base_rename(struct hostile *h, const char *from, const char *to)
{
    static char text[65536];
    const size_t length = strlen(from);
    FILE *file = fopen(folder_path(&h->folder, "model.safetensors"), "r+b");
    need(file, "model.safetensors");
    const size_t n = fread(text, 1, sizeof text, file);
    const char *at = memmem(text, n, from, length);
    need(at && strlen(to) == length, from);
    need(fseek(file, at - text, SEEK_SET) == 0 && fwrite(to, 1, length, file) == length, to);
    need(fclose(file) == 0, to);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

void base_sparse(struct hostile *h, const char *file, const char *text, uint64_t bytes)
{
    folder_write_text(&h->folder, file, text);
    need(truncate(folder_path(&h->folder, file), (off_t)bytes) == 0, file);
}

char *base_repeat(const char *before, const char *piece, size_t n, const char *after)
{
    const size_t length = strlen(piece);
    char *text = malloc(strlen(before) + n * length + strlen(after) + 1);
    need(text, "text");
    char *p = stpcpy(text, before);
    for (size_t i = 0; i < n; i++) p = stpcpy(p, piece);
    strcpy(p, after);
    return text;
}
