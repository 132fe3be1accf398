/* Owns the growing buffer of bytes that texts are collected in. */
#include <string.h>

#include "base/memory.h"
#include "text/vocab.h"

sluice_status text_buffer_append(struct text_buffer *b, const char *data, size_t n)
{
    if (n > b->cap - b->n || !b->data) { /* what nothing was appended to has bytes to point at, too */
        size_t cap = b->cap < 64 ? 64 : b->cap;
        while (cap - b->n < n) {
            if (cap > SIZE_MAX / 2) return SLUICE_MEMORY;
            cap *= 2;
        }
        char *grown = memory_realloc(b->data, cap);
        if (!grown) return SLUICE_MEMORY;
        b->data = grown;
        b->cap = cap;
    }
    if (n > 0) memcpy(b->data + b->n, data, n);
    b->n += n;
    return SLUICE_OK;
}

void text_buffer_free(struct text_buffer *b)
{
    memory_free(b->data);
    *b = (struct text_buffer){0};
}
