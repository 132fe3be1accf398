/* The tokenizer of a GGUF file, from its keys. */
#ifndef ENGINE_GGUF_VOCAB_H
#define ENGINE_GGUF_VOCAB_H

#include <stddef.h>

#include "base/failure.h"
#include "text/vocab.h"

struct archive;

/* *out is NULL on failure, and when the file has no tokenizer. `warning` (capacity `cap`) gets a sentence about what is
 * read by a guess, or "". */
sluice_status open_gguf_vocab(struct vocab **out, const struct archive *a, char *warning, size_t cap,
                              struct failure *f);

#endif
