/* Reads the golden files of tests/golden/tokenizers: xz-compressed, so through the xz program. */
#ifndef TESTS_TEXT_GOLDEN_FILES_H
#define TESTS_TEXT_GOLDEN_FILES_H

#include <jansson.h>
#include <stddef.h>

#include "text/vocab.h"

/* Whole content of golden/tokenizers/NAME.xz, NUL-terminated; free() it. NULL when it cannot be read. */
char *golden_read(const char *name, size_t *n);
json_t *golden_json(const char *name);

/* The tokenizer NAME, or a failed test. "gguf/NAME" is a vocabulary in GGUF form, "moonshot" a
 * tiktoken.model. */
struct vocab *golden_vocab(const char *name);

/* Decodes all ids as a stream and checks on the way that no piece ends inside a character (unless the flags let broken
 * bytes through). The result is a NUL-terminated buffer. */
struct text_buffer decode_all(const struct vocab *v, const int32_t *ids, size_t n, unsigned flags);

/* `text` encodes to these ids ("257 32 256"); the ids decode to this text. */
void expect_ids(const struct vocab *v, const char *text, unsigned flags, const char *expected);
void expect_text(const struct vocab *v, const int32_t *ids, size_t n, unsigned flags, const char *expected);

#endif
