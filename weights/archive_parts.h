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
    ARCHIVE_MAX_HEADER_BYTES = 256 << 20,    /* of all shards together: 1,048,576 tensors of 256 bytes of text */
    ARCHIVE_MAX_DOCUMENT_BYTES = 16 << 20,   /* configuration, model card */
    ARCHIVE_MAX_INDEX_BYTES = 128 << 20,     /* 1,048,576 tensors of 120 bytes of text */
    ARCHIVE_MAX_TOKENIZER_BYTES = 256 << 20, /* tokenizer.json */

    GGUF_HEADER_BYTES = 24, /* before the first key */
    GGUF_MAX_KEYS = 65536,
    GGUF_MAX_KEY_BYTES = 65535,
    GGUF_MAX_TENSOR_NAME_BYTES = 64,
    GGUF_MAX_STRING_BYTES = 16 << 20,
    GGUF_MAX_ELEMENTS = 16777216, /* of an array; vocabularies have less than 300,000 */
    GGUF_MAX_DIMS = 4,
    GGUF_DEFAULT_ALIGNMENT = 32,
};

struct string_pair {
    const char *key, *value;
};

/* Types of metadata values, numbered as in GGUF files. */
enum gguf_type {
    GGUF_UINT8,
    GGUF_INT8,
    GGUF_UINT16,
    GGUF_INT16,
    GGUF_UINT32,
    GGUF_INT32,
    GGUF_FLOAT32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_UINT64,
    GGUF_INT64,
    GGUF_FLOAT64,
    N_GGUF_TYPES
};

struct gguf_type_info {
    const char *name, *array_name; /* "uint8", "array of uint8" */
    size_t bytes;                  /* of one value; 0 for strings and arrays, whose length differs */
};
extern const struct gguf_type_info gguf_types[N_GGUF_TYPES]; /* gguf.c */

/* One key-value pair of a GGUF file. What the file says once, a string, is copied and gets a NUL; numbers are read from
 * the map when they are asked for. */
struct gguf_value {
    const char *key;
    enum gguf_type type, element; /* element: of an array */
    size_t n;                     /* elements of an array, bytes of a string */
    const unsigned char *encoded; /* [encoded_bytes], what stands in the file behind the type */
    size_t encoded_bytes;
    const unsigned char *elements; /* the number, or the first number of an array */
    const char *text;              /* a string, or all strings of an array, one behind the other */
    const size_t *starts;          /* [n + 1], array of strings: string i is text + starts[i] */
};

/* One safetensors or GGUF file. */
struct tensor_file {
    char *name; /* escaped base name */
    struct file_map map;
    char *strings;               /* block that holds every tensor name and metadata string */
    struct tensor_view *tensors; /* [n], sorted by name */
    size_t n;
    uint64_t header_bytes; /* before the data section */
    /* safetensors only */
    struct string_pair *metadata; /* [n_metadata], sorted by key */
    size_t n_metadata;
    /* GGUF only */
    struct gguf_value *values; /* [n_values], in the order of the file */
    size_t n_values;
    const struct gguf_value **by_key; /* [n_values], sorted by key */
    size_t *starts;                   /* block that holds the starts of every array of strings */
    uint64_t trailing_bytes;          /* after the last tensor, more than padding explains */
};

struct archive {
    char *name;
    enum archive_format format;
    enum file_access access;
    char *warning;             /* NULL when there is none */
    struct tensor_file *files; /* [n_files], one per shard */
    size_t n_files;
    uint64_t header_bytes, n_read; /* of the files that are read so far: archive_add_up */
    struct tensor_view *tensors;   /* [n_tensors], all shards, sorted by name */
    size_t n_tensors;
    json_t *documents[N_DOCUMENTS];
    struct text {
        bool present;
        struct file_map map;
    } texts[N_TEXTS];
};

/* safetensors.c: reads the header of file->map, which the caller has filled together with file->name. On failure the
 * caller still closes the file. */
/* After each file of several: together they keep to the limits of one. Thousands of names may be links to one file, and
 * files of holes are larger than what they take on disk. */
sluice_status archive_add_up(struct archive *a, const struct tensor_file *file, struct failure *f);
sluice_status safetensors_read(struct tensor_file *file, struct failure *f);
/* archive.c: the file owns the map from now on, whatever follows, and is called `name` (escaped) in messages. */
sluice_status tensor_file_take(struct tensor_file *file, const char *name, struct file_map map, struct failure *f);
void tensor_file_close(struct tensor_file *file);
void tensors_sort(struct tensor_view *tensors, size_t n); /* by name */

/* folder.c: fills everything but the name; on failure the caller closes the archive. */
sluice_status folder_read(struct archive *a, const char *path, unsigned flags, struct failure *f);
/* Moves the tensors of a->files into a->tensors, sorted by name across files. */
sluice_status archive_join(struct archive *a, struct failure *f);
/* A file that begins like a known format other than safetensors is refused with a sentence that says so. */
sluice_status archive_refuse_other_formats(const struct file_map *map, const char *shown, struct failure *f);
sluice_status archive_refuse_pointer(const struct file_map *map, const char *shown, struct failure *f); /* Git LFS */

/* gguf.c: reads file->map, which the caller has filled together with file->name. Without `tensors` the directory of
 * tensors is checked too, but not against the length of the file, and no view is kept. On failure the caller still
 * closes the file. */
sluice_status gguf_read(struct tensor_file *file, bool tensors, struct failure *f);
const struct gguf_value *gguf_find(const struct tensor_file *file, const char *key); /* NULL when absent; O(log n) */
struct meta gguf_meta(const struct gguf_value *v);                                   /* NULL: META_ABSENT */
struct meta gguf_element(struct meta array, size_t i);
bool gguf_name_is_printable(const char *name, size_t n); /* not empty, printable ASCII: keys and names of tensors */

/* gguf_files.c: opens a model whose first or only file is mapped (the archive takes the map over); `name` is its base
 * name, and the other parts of a split model lie in the folder `root`. Without ARCHIVE_TENSORS only the first is read.
 * On failure the caller closes the archive. */
sluice_status gguf_open(struct archive *a, const struct file_root *root, const char *name, struct file_map map,
                        unsigned flags, struct failure *f);
/* Is this a folder that stands for a GGUF model? Then opens it; several models are refused. */
sluice_status gguf_open_folder(struct archive *a, const struct file_root *root, bool *found, unsigned flags,
                               struct failure *f);

/* document.c: JSON text of a configuration file to a tree; `name` is its base name. */
sluice_status document_parse(json_t **out, const char *name, const struct file_map *map, struct failure *f);
struct meta document_find(const json_t *document, const char *path);

#endif
