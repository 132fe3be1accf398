/* Owns reading the golden tokenizer files, shared by the tests in this folder. */
#include "golden_files.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/gguf_vocab.h"
#include "tests/support/folder.h"
#include "text/vocab_internal.h"
#include "weights/archive.h"

char *golden_read(const char *name, size_t *n)
{
    char command[1024];
    snprintf(command, sizeof command, "xz -dc '%s/golden/tokenizers/%s.xz'", SLUICE_TEST_DIR, name);
    FILE *pipe = popen(command, "r");
    if (!pipe) return NULL;
    size_t cap = 1 << 20, got;
    char *data = malloc(cap + 1);
    for (*n = 0; data && (got = fread(data + *n, 1, cap - *n, pipe)) > 0;) {
        *n += got;
        if (*n == cap) data = realloc(data, (cap *= 2) + 1);
    }
    if (pclose(pipe) != 0 || !data) {
        free(data);
        return NULL;
    }
    data[*n] = 0;
    return data;
}

json_t *golden_json(const char *name)
{
    size_t n = 0;
    char *data = golden_read(name, &n);
    cr_assert_not_null(data, "cannot read %s", name);
    json_error_t error;
    json_t *json = json_loadb(data, n, JSON_ALLOW_NUL, &error);
    cr_assert_not_null(json, "%s: %s", name, error.text);
    free(data);
    return json;
}

/* "gguf/gpt-2": unpacked to a file, since an archive is one. */
static struct vocab *golden_gguf(const char *name)
{
    char file[128], warning[512];
    snprintf(file, sizeof file, "%s.gguf", name);
    size_t n = 0;
    char *data = golden_read(file, &n);
    cr_assert_not_null(data, "cannot read %s", file);
    struct test_folder folder;
    folder_create(&folder);
    folder_write(&folder, "vocab.gguf", data, n);
    free(data);
    struct archive *a = NULL;
    struct vocab *v = NULL;
    struct failure f = {0};
    sluice_status status = archive_open(&a, folder_path(&folder, "vocab.gguf"), 0, &f);
    if (!status) status = open_gguf_vocab(&v, a, warning, sizeof warning, &f);
    archive_close(&a);
    folder_remove(&folder);
    cr_assert_eq(status, SLUICE_OK, "%s: %s", name, f.text);
    cr_assert_not_null(v);
    return v;
}

static struct vocab *golden_tiktoken(const char *name)
{
    char file[128];
    size_t n = 0, n_config = 0;
    snprintf(file, sizeof file, "%s.tiktoken.model", name);
    char *model = golden_read(file, &n);
    snprintf(file, sizeof file, "%s.tokenizer_config.json", name);
    char *config = golden_read(file, &n_config);
    cr_assert(model && config, "cannot read %s", name);
    struct vocab *v = NULL;
    struct failure f = {0};
    sluice_status status = vocab_create_tiktoken(&v, model, n, config, n_config, &f);
    free(model);
    free(config);
    cr_assert_eq(status, SLUICE_OK, "%s: %s", name, f.text);
    return v;
}

struct vocab *golden_vocab(const char *name)
{
    if (strncmp(name, "gguf/", 5) == 0) return golden_gguf(name);
    if (strcmp(name, "moonshot") == 0) return golden_tiktoken(name);
    char file[128];
    snprintf(file, sizeof file, "%s.tokenizer.json", name);
    size_t n = 0;
    char *data = golden_read(file, &n);
    cr_assert_not_null(data, "cannot read %s", file);
    struct vocab *v = NULL;
    struct failure f = {0};
    sluice_status status = vocab_create(&v, data, n, NULL, 0, &f);
    free(data);
    cr_assert_eq(status, SLUICE_OK, "%s: %s", name, f.text);
    return v;
}

struct text_buffer decode_all(const struct vocab *v, const int32_t *ids, size_t n, unsigned flags)
{
    struct text_buffer out = {0};
    struct text_decoder decoder;
    text_decoder_init(&decoder, v, flags);
    for (size_t i = 0; i <= n; i++) {
        size_t before = out.n;
        sluice_status status = i < n ? text_decoder_push(&decoder, ids[i], &out) : text_decoder_finish(&decoder, &out);
        cr_assert_eq(status, SLUICE_OK);
        if (flags & VOCAB_DECODE_REPLACE && out.n > before)
            cr_assert_eq(utf8_valid_bytes(out.data + before, out.n - before), out.n - before, "piece %zu is cut", i);
    }
    cr_assert_eq(text_buffer_append(&out, "", 1), SLUICE_OK);
    out.n--;
    return out;
}

void expect_ids(const struct vocab *v, const char *text, unsigned flags, const char *expected)
{
    int32_t ids[64];
    size_t n = 0, at = 0;
    char found[512] = "";
    struct failure f = {0};
    cr_assert_eq(vocab_encode(v, text, strlen(text), flags, ids, 64, &n, &f), SLUICE_OK, "%s", f.text);
    for (size_t i = 0; i < n; i++) at += (size_t)snprintf(found + at, sizeof found - at, i ? " %d" : "%d", ids[i]);
    cr_expect_str_eq(found, expected, "\"%s\": %s, expected %s", text, found, expected);
}

void expect_text(const struct vocab *v, const int32_t *ids, size_t n, unsigned flags, const char *expected)
{
    struct text_buffer text = decode_all(v, ids, n, flags | VOCAB_DECODE_REPLACE);
    cr_expect_str_eq(text.data, expected, "\"%s\", expected \"%s\"", text.data, expected);
    text_buffer_free(&text);
}
