/* Owns drafts of GGUF files (see gguf.h). */
#include "tests/support/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void draft_free(struct gguf_draft *d)
{
    free(d->data);
    *d = (struct gguf_draft){0};
}

void draft_bytes(struct gguf_draft *d, const void *bytes, size_t n)
{
    if (d->n + n > d->capacity) {
        d->capacity = (d->n + n) * 2;
        d->data = realloc(d->data, d->capacity);
        if (!d->data) {
            fprintf(stderr, "GGUF draft: not enough memory\n");
            abort();
        }
    }
    if (n) memcpy(d->data + d->n, bytes, n);
    d->n += n;
}

void draft_zeros(struct gguf_draft *d, size_t n)
{
    static const unsigned char zeros[4096];
    for (; n > sizeof zeros; n -= sizeof zeros) draft_bytes(d, zeros, sizeof zeros);
    draft_bytes(d, zeros, n);
}

void draft_number(struct gguf_draft *d, uint64_t v, size_t bytes)
{
    unsigned char b[8];
    for (size_t i = 0; i < bytes; i++) b[i] = (unsigned char)(v >> (8 * i));
    draft_bytes(d, b, bytes);
}

void draft_text(struct gguf_draft *d, const char *text)
{
    draft_number(d, strlen(text), 8);
    draft_bytes(d, text, strlen(text));
}

void draft_start(struct gguf_draft *d, uint32_t version, uint64_t n_tensors, uint64_t n_keys)
{
    d->n = 0;
    draft_bytes(d, "GGUF", 4);
    draft_number(d, version, 4);
    draft_number(d, n_tensors, 8);
    draft_number(d, n_keys, 8);
}

void draft_key(struct gguf_draft *d, const char *name, uint32_t type)
{
    draft_text(d, name);
    draft_number(d, type, 4);
}

void draft_key_number(struct gguf_draft *d, const char *name, uint32_t type, uint64_t v, size_t bytes)
{
    draft_key(d, name, type);
    draft_number(d, v, bytes);
}

void draft_key_text(struct gguf_draft *d, const char *name, const char *text)
{
    draft_key(d, name, 8);
    draft_text(d, text);
}

void draft_array(struct gguf_draft *d, const char *name, uint32_t element, uint64_t n)
{
    draft_key(d, name, 9);
    draft_number(d, element, 4);
    draft_number(d, n, 8);
}

void draft_tensor(struct gguf_draft *d, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type,
                  uint64_t offset)
{
    draft_text(d, name);
    draft_number(d, n_dims, 4);
    for (uint32_t i = 0; i < n_dims; i++) draft_number(d, dims[i], 8);
    draft_number(d, type, 4);
    draft_number(d, offset, 8);
}

void draft_align(struct gguf_draft *d, size_t alignment)
{
    while (d->n % alignment) draft_zeros(d, 1);
}

void draft_save(const struct gguf_draft *d, const struct test_folder *folder, const char *name)
{
    folder_write(folder, name, d->data, d->n);
}
