/* What Sluice itself saves: a GGUF file is opened and written again, as `sluice quantize` copies one, and the copy must
 * open and have the same keys and tensors. The only file that Sluice both writes and reads is GGUF. */
#include <stdio.h>
#include <string.h>

#include "memory_files.h"
#include "mutate.h"
#include "open.h"
#include "weights/gguf_write.h"

static const char path[] = MEMORY_FOLDER "/saved.gguf";
enum { MAX_DATA_BYTES = 1 << 16 }; /* of all tensors: more of them shows nothing new */

static bool copy(const struct archive *a)
{
    static const unsigned char other[MAX_DATA_BYTES] = {1, 2, 3};
    struct gguf_writer *w;
    struct failure f = {0};
    struct meta value;
    sluice_status s = gguf_writer_create(&w, path, &f);
    if (s) fuzz_broken("cannot create: %s", f.text);
    for (size_t i = 0;; i++) {
        const char *key = archive_gguf_key(a, i, &value);
        if (!key) break;
        gguf_put_meta(w, key, value);
    }
    for (size_t i = 0; i < archive_n_tensors(a); i++) {
        const struct tensor_view *t = archive_tensor(a, i);
        gguf_add_tensor(w, t->name, t->dtype, t->n_dims, t->shape);
    }
    s = gguf_begin_data(w, &f);
    for (size_t i = 0; !s && i < archive_n_tensors(a); i++) {
        size_t bytes = archive_tensor(a, i)->bytes, half = bytes / 2;
        s = gguf_write_data(w, i, half, other, bytes - half, &f);
        if (!s) s = gguf_write_data(w, i, 0, other, half, &f);
    }
    if (!s) s = gguf_writer_commit(w, &f);
    fuzz_check_failure(s, &f);
    gguf_writer_close(&w);
    return !s;
}

static void compare_values(const char *key, struct meta v, struct meta w)
{
    bool same = v.kind == w.kind && v.n == w.n && v.integer == w.integer && v.boolean == w.boolean &&
                memcmp(&v.number, &w.number, sizeof v.number) == 0 && (!v.type) == (!w.type) &&
                (!v.type || strcmp(v.type, w.type) == 0);
    if (same && v.kind == META_STRING) same = memcmp(v.string, w.string, v.n) == 0;
    if (!same) fuzz_broken("key %s changed", key);
    if (v.kind != META_ARRAY) return;
    for (size_t i = 0; i < v.n; i += 1 + v.n / 16) compare_values(key, meta_element(v, i), meta_element(w, i));
}

static void compare(const struct archive *a, const struct archive *b)
{
    struct meta value;
    if (archive_n_tensors(a) != archive_n_tensors(b)) fuzz_broken("another number of tensors");
    for (size_t i = 0; i < archive_n_tensors(a); i++) {
        const struct tensor_view *t = archive_tensor(a, i), *u = archive_tensor(b, i);
        if (strcmp(t->name, u->name) != 0 || t->dtype != u->dtype || t->n_dims != u->n_dims || t->bytes != u->bytes ||
            memcmp(t->shape, u->shape, (size_t)t->n_dims * sizeof *t->shape) != 0)
            fuzz_broken("tensor %s changed", t->name);
        if (u->bytes && u->data[u->bytes / 2] != 1) fuzz_broken("other data");
    }
    for (size_t i = 0;; i++) {
        const char *key = archive_gguf_key(a, i, &value);
        if (!key) break;
        if (strcmp(key, "general.alignment") == 0 || strncmp(key, "split.", 6) == 0) continue;
        compare_values(key, value, archive_meta(b, DOCUMENT_GGUF, key));
    }
}

static bool is_small(const struct archive *a)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < archive_n_tensors(a) && bytes <= MAX_DATA_BYTES; i++) bytes += archive_tensor(a, i)->bytes;
    return bytes <= MAX_DATA_BYTES;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct failure f = {0};
    struct archive *a = open_gguf_input(data, n, ARCHIVE_TENSORS);
    if (a && is_small(a) && copy(a)) {
        size_t written_n;
        const unsigned char *written = memory_files_written("saved.gguf", &written_n);
        if (!written) fuzz_broken("committed, but not there");
        memory_files_add("copy.gguf", 9, written, written_n, 0);
        struct archive *b = open_checked(MEMORY_FOLDER "/copy.gguf", ARCHIVE_TENSORS, &f);
        if (!b) fuzz_broken("cannot be read back: %s", f.text);
        compare(a, b);
        archive_close(&b);
    }
    archive_close(&a);
    memory_files_clear();
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t capacity, unsigned seed)
{
    struct fuzz_random r = {seed};
    return mutate_gguf(data, n, capacity, &r);
}
