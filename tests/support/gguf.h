/* GGUF files put together byte by byte, so that exactly one thing can be wrong with them. weights/gguf.c draws the
 * format; whole and valid files are easier to write with weights/gguf_write.h.
 *
 * A draft is {0} at first. Memory that runs out ends the test program. */
#ifndef SUPPORT_GGUF_H
#define SUPPORT_GGUF_H

#include <stddef.h>
#include <stdint.h>

#include "tests/support/folder.h"

struct gguf_draft {
    unsigned char *data; /* [n] */
    size_t n, capacity;
};

void draft_free(struct gguf_draft *d);
void draft_start(struct gguf_draft *d, uint32_t version, uint64_t n_tensors, uint64_t n_keys); /* drops the rest */

void draft_bytes(struct gguf_draft *d, const void *bytes, size_t n);
void draft_zeros(struct gguf_draft *d, size_t n);
void draft_number(struct gguf_draft *d, uint64_t v, size_t bytes); /* little-endian */
void draft_text(struct gguf_draft *d, const char *text);           /* its length, then its bytes */

void draft_key(struct gguf_draft *d, const char *name, uint32_t type); /* the value follows */
void draft_key_number(struct gguf_draft *d, const char *name, uint32_t type, uint64_t v, size_t bytes);
void draft_key_text(struct gguf_draft *d, const char *name, const char *text);
void draft_array(struct gguf_draft *d, const char *name, uint32_t element, uint64_t n); /* the elements follow */

/* dims as in the file: innermost first */
void draft_tensor(struct gguf_draft *d, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type,
                  uint64_t offset);
void draft_align(struct gguf_draft *d, size_t alignment);

void draft_save(const struct gguf_draft *d, const struct test_folder *folder, const char *name);

#endif
