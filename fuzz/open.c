/* See open.h. */
#include "open.h"

#include <stdlib.h>
#include <string.h>

#include "base/team.h"
#include "memory_files.h"
#include "model/cache.h"
#include "model/model.h"

static volatile unsigned sink; /* what is read is used */

struct archive *open_checked(const char *path, unsigned flags, struct failure *f)
{
    struct archive *a;
    memset(f, 0, sizeof *f);
    sluice_status s = archive_open(&a, path, flags, f);
    fuzz_check_failure(s, f);
    if (!s != (a != NULL)) fuzz_broken("status %d, archive %p", (int)s, (void *)a);
    return a;
}

struct archive *open_gguf_input(const uint8_t *data, size_t n, unsigned flags)
{
    static const char name[] = "model.gguf";
    struct failure f;
    memory_files_clear();
    memory_files_add(name, sizeof name - 1, data, n, 0);
    struct archive *a = open_checked(MEMORY_FOLDER "/model.gguf", flags, &f);
    if (a || (!strstr(f.text, "outside the data section") && !strstr(f.text, "data: section starts"))) return a;
    memory_files_clear();
    memory_files_add(name, sizeof name - 1, data, n, MEMORY_MAX_FILLING);
    return open_checked(MEMORY_FOLDER "/model.gguf", flags, &f);
}

static void walk_value(struct meta m, int depth)
{
    sink += (unsigned)m.integer + m.boolean;
    if (m.kind == META_STRING) {
        sink += (unsigned)m.string[m.n]; /* NUL */
        if (m.string[m.n]) fuzz_broken("a string without NUL");
    }
    if (m.kind != META_ARRAY || depth > 4) return;
    for (size_t i = 0; i < m.n; i += 1 + m.n / 64) walk_value(meta_element(m, i), depth + 1);
    if (m.n) walk_value(meta_element(m, m.n - 1), depth + 1);
}

void walk_archive(const struct archive *a)
{
    const char *before = NULL;
    for (size_t i = 0; i < archive_n_tensors(a); i++) {
        const struct tensor_view *t = archive_tensor(a, i);
        uint64_t count = 1;
        const struct dtype_info *info = dtype_info(t->dtype);
        if (before && strcmp(before, t->name) >= 0) fuzz_broken("tensors are not in the order of their names");
        before = t->name;
        for (int d = 0; d < t->n_dims; d++) count *= t->shape[d]; /* was checked to fit */
        if (count / (uint64_t)info->elements_per_block * info->bytes_per_block != t->bytes)
            fuzz_broken("tensor of %llu elements has %llu bytes", (unsigned long long)count,
                        (unsigned long long)t->bytes);
        if (t->bytes) sink += t->data[0] + t->data[t->bytes - 1];
        if (t->bytes && !archive_may_read(a, t->data, t->bytes)) fuzz_broken("a tensor that may not be read");
        if (i % 16 == 0 && archive_find(a, t->name) != t) fuzz_broken("a tensor that is not found by its name");
    }
    struct meta value;
    for (size_t i = 0;; i++) {
        const char *key = archive_gguf_key(a, i, &value);
        if (!key) break;
        walk_value(value, 0);
        if (archive_meta(a, DOCUMENT_GGUF, key).node != value.node) fuzz_broken("a key that is not found by its name");
    }
    const char *warning = archive_warning(a);
    for (; warning && *warning; warning++)
        if ((unsigned char)*warning < 0x20 || (unsigned char)*warning > 0x7e)
            fuzz_broken("a byte in the warning: %02x", (unsigned char)*warning);
}

static void check_warning(void *context, const char *text)
{
    (void)context;
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || (unsigned char)*text > 0x7e)
            fuzz_broken("byte %02x in a warning", (unsigned char)*text);
}

void bind_checked(const struct archive *a)
{
    static struct team team;
    struct model m;
    struct failure f = {0};
    char line[4096];
    uint64_t bytes;
    struct bind_options o = {.warning = check_warning};
    if (!team.n_threads) team_init(&team, 1);
    sluice_status s = model_bind(&m, a, &team, &o, &f);
    fuzz_check_failure(s, &f);
    if (s) return;
    for (int l = 0; l < m.config.n_layers && l < 8; l++) {
        model_describe_layer(&m, l, line, sizeof line);
        sink += (unsigned)strlen(line);
    }
    for (int i = 0; i < 4 && model_describe_group(&m, i, line, sizeof line); i++) sink += (unsigned)strlen(line);
    sink += (unsigned)model_smaller_type(&m, 1 << 20, &bytes);
    sink += (unsigned)cache_bytes_per_token(&m.config, cache_default_type(m.main_dtype));
    sink += (unsigned)cache_state_bytes(&m.config);
    model_free(&m);
}

void try_vocab(const struct vocab *v, const char *text, size_t n)
{
    static const unsigned all_flags[] = {0, VOCAB_PARSE_SPECIAL, VOCAB_NO_BOS};
    const int32_t size = vocab_size(v);
    for (size_t i = 0; i < sizeof all_flags / sizeof *all_flags; i++) {
        struct failure f = {0};
        size_t count = 0, again = 0;
        sluice_status s = vocab_encode(v, text, n, all_flags[i], NULL, 0, &count, &f);
        fuzz_check_failure(s, &f);
        if (s) continue;
        int32_t *ids = fuzz_need(malloc((count ? count : 1) * sizeof *ids));
        s = vocab_encode(v, text, n, all_flags[i], ids, count, &again, &f);
        if (s || again != count) fuzz_broken("%zu ids, and then %zu with status %d", count, again, (int)s);
        struct text_decoder d;
        struct text_buffer out = {0};
        text_decoder_init(&d, v, VOCAB_DECODE_REPLACE | (i ? VOCAB_DECODE_SPECIAL : 0));
        for (size_t k = 0; k < count; k++) {
            size_t token_n;
            if (ids[k] < 0 || ids[k] >= size) fuzz_broken("id %d of a vocabulary of %d", (int)ids[k], (int)size);
            const char *token = vocab_token_bytes(v, ids[k], &token_n);
            if (token_n)
                sink += (unsigned char)token[0] + (unsigned char)token[token_n - 1]; /* both ends may be read */
            if (text_decoder_push(&d, ids[k], &out)) fuzz_broken("decoding fails");
        }
        if (text_decoder_finish(&d, &out)) fuzz_broken("decoding fails at the end");
        text_buffer_free(&out);
        free(ids);
    }
}
