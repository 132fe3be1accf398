/* The parts of struct archive, shared by the files of this folder and by nobody else.
 *
 * Ownership is a tree: closing the archive closes its tensor files, documents and texts, whatever was opened before an
 * error. Read next: archive.c. */
#ifndef WEIGHTS_ARCHIVE_PARTS_H
#define WEIGHTS_ARCHIVE_PARTS_H

#include <jansson.h>

#include "base/memory.h"
#include "weights/archive.h"
#include "weights/file.h"

enum {
    ARCHIVE_MAX_TENSORS = 1048576, /* all shards together; unfused 256-expert checkpoints have about 90,000 */
    ARCHIVE_MAX_SHARDS = 4096,
    ARCHIVE_MAX_DOCUMENT_BYTES = 16 << 20,   /* configuration, model card */
    ARCHIVE_MAX_INDEX_BYTES = 128 << 20,     /* 1,048,576 tensors of 120 bytes of text */
    ARCHIVE_MAX_TOKENIZER_BYTES = 256 << 20, /* tokenizer.json */
};

struct string_pair {
    const char *key, *value;
};

/* One safetensors file. */
struct tensor_file {
    char *name; /* escaped base name */
    struct file_map map;
    char *strings;               /* block that holds every tensor name and metadata string */
    struct tensor_view *tensors; /* [n], sorted by name */
    size_t n;
    struct string_pair *metadata; /* [n_metadata], sorted by key */
    size_t n_metadata;
};

struct archive {
    char *name;
    char *warning;             /* NULL when there is none */
    struct tensor_file *files; /* [n_files], one per shard */
    size_t n_files;
    struct tensor_view *tensors; /* [n_tensors], all shards, sorted by name */
    size_t n_tensors;
    json_t *documents[N_DOCUMENTS];
    struct text {
        bool present;
        struct file_map map;
    } texts[N_TEXTS];
};

/* safetensors.c: reads the header of file->map, which the caller has filled together with file->name. On failure the
 * caller still closes the file. */
sluice_status safetensors_read(struct tensor_file *file, struct failure *f);
void tensor_file_close(struct tensor_file *file);
void tensors_sort(struct tensor_view *tensors, size_t n); /* by name */

/* folder.c: fills everything but the name; on failure the caller closes the archive. */
sluice_status folder_read(struct archive *a, const char *path, unsigned flags, struct failure *f);
/* Moves the tensors of a->files into a->tensors, sorted by name across files. */
sluice_status archive_join(struct archive *a, struct failure *f);
/* A file that begins like a known format other than safetensors is refused with a sentence that says so. */
sluice_status archive_refuse_other_formats(const struct file_map *map, const char *shown, struct failure *f);

/* document.c: JSON text of a configuration file to a tree; `name` is its base name. */
sluice_status document_parse(json_t **out, const char *name, const struct file_map *map, struct failure *f);
struct meta document_find(const json_t *document, const char *path);

#endif
