/* Owns the files of keys; see the header. */
#include "tests/model/keys.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct key dense[] = {
    {"@block_count", "u", "4"},
    {"@embedding_length", "u", "32"},
    {"@context_length", "u", "128"},
    {"@feed_forward_length", "u", "48"},
    {"@attention.head_count", "u", "4"},
    {"@attention.head_count_kv", "u", "2"},
    {"@attention.layer_norm_rms_epsilon", "f", "1e-6"},
    {"@vocab_size", "u", "100"},
    {"output.weight", "tensor", ""},
    {0},
};

static void put_array(struct gguf_writer *w, const char *key, const char *type, const char *value)
{
    float floats[16];
    int32_t ints[16];
    bool bools[16];
    const char *strings[16];
    size_t n = 0, lengths[16];
    for (const char *p = value; *p; p += strcspn(p, ",") + (p[strcspn(p, ",")] == ',')) {
        cr_assert_lt(n, 16);
        floats[n] = strtof(p, NULL);
        ints[n] = (int32_t)strtol(p, NULL, 10);
        bools[n] = ints[n] != 0;
        strings[n] = p;
        lengths[n++] = strcspn(p, ",");
    }
    if (strcmp(type, "is") == 0) gguf_put_i32s(w, key, ints, n);
    if (strcmp(type, "fs") == 0) gguf_put_f32s(w, key, floats, n);
    if (strcmp(type, "bs") == 0) gguf_put_bools(w, key, bools, n);
    if (strcmp(type, "strs") == 0) gguf_put_strings(w, key, strings, lengths, n);
}

static void put(struct gguf_writer *w, const char *arch, const struct key *k)
{
    static const uint64_t one = 1;
    char key[128];
    if (!k->type) return;
    bool of_arch = k->name[0] == '@';
    snprintf(key, sizeof key, "%s%s%s", of_arch ? arch : "", of_arch ? "." : "", k->name + of_arch);
    if (strcmp(k->type, "tensor") == 0) gguf_add_tensor(w, key, DTYPE_F32, 1, &one);
    if (strcmp(k->type, "u") == 0) gguf_put_u32(w, key, (uint32_t)strtoul(k->value, NULL, 10));
    if (strcmp(k->type, "f") == 0) gguf_put_f32(w, key, strtof(k->value, NULL));
    if (strcmp(k->type, "d") == 0) gguf_put_f64(w, key, strtod(k->value, NULL));
    if (strcmp(k->type, "bool") == 0) gguf_put_bool(w, key, strcmp(k->value, "true") == 0);
    if (strcmp(k->type, "str") == 0) gguf_put_string(w, key, k->value, strlen(k->value));
    if (k->type[strlen(k->type) - 1] == 's') put_array(w, key, k->type, k->value);
}

struct gguf_writer *keys_start(const struct test_folder *folder)
{
    struct gguf_writer *w = NULL;
    struct failure failure = {0};
    const char *path = folder_path(folder, "m.gguf");
    remove(path);
    cr_assert_eq((int)gguf_writer_create(&w, path, &failure), (int)SLUICE_OK, "%s", failure.text);
    return w;
}

void keys_finish(struct gguf_writer *w, size_t n_tensors)
{
    struct failure failure = {0};
    cr_assert_eq((int)gguf_begin_data(w, &failure), (int)SLUICE_OK, "%s", failure.text);
    for (size_t i = 0; i < n_tensors; i++)
        cr_assert_eq((int)gguf_write_data(w, i, 0, "\0\0\200?", 4, &failure), (int)SLUICE_OK, "%s", failure.text);
    cr_assert_eq((int)gguf_writer_commit(w, &failure), (int)SLUICE_OK, "%s", failure.text);
    gguf_writer_close(&w);
}

static const struct key *find_key(const struct key *keys, const char *name)
{
    for (int i = 0; i < MAX_KEYS && keys[i].name; i++)
        if (strcmp(keys[i].name, name) == 0) return &keys[i];
    return NULL;
}

void keys_write(const struct test_folder *folder, const char *arch, const struct key *keys)
{
    struct gguf_writer *w = keys_start(folder);
    size_t n_tensors = 0;
    const struct key name = {"general.architecture", "str", arch};
    put(w, arch, find_key(keys, name.name) ? find_key(keys, name.name) : &name);
    for (const struct key *k = dense; k->name; k++) {
        const struct key *changed = find_key(keys, k->name);
        put(w, arch, changed ? changed : k);
        if (!changed && strcmp(k->type, "tensor") == 0) n_tensors++;
    }
    for (int i = 0; i < MAX_KEYS && keys[i].name; i++) {
        put(w, arch, &keys[i]);
        n_tensors += keys[i].type && strcmp(keys[i].type, "tensor") == 0;
    }
    keys_finish(w, n_tensors);
}
