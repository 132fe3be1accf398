/* Steps that several targets take: opening what memory_files.h holds, and asking everything of what was opened. */
#ifndef FUZZ_OPEN_H
#define FUZZ_OPEN_H

#include "fuzz.h"
#include "text/vocab.h"
#include "weights/archive.h"

/* Opens the input as a GGUF file called model.gguf, NULL on failure. A header alone is enough: if nothing but the data
 * of the tensors is missing, they are made up. */
struct archive *open_gguf_input(const uint8_t *data, size_t n, unsigned flags);
/* archive_open of a path below MEMORY_FOLDER; NULL on failure, whose sentence is checked. */
struct archive *open_checked(const char *path, unsigned flags, struct failure *f);

/* Reads the ends of every tensor, finds each by its name, and every value of the metadata. */
void walk_archive(const struct archive *a);

/* Configuration, plan and everything that `sluice inspect` says, without weights. */
void bind_checked(const struct archive *a);

/* Encodes the text with every flag, and checks ids, counts and that the stream decoder gives some text. */
void try_vocab(const struct vocab *v, const char *text, size_t n);

#endif
