/* struct archive: a directory of named tensor views plus metadata, independent of the file format.
 *
 * Owns the mapped files and the parsed metadata. Every offset, size, shape and overlap is validated once, while
 * opening; a view that the archive hands out is safe to read. It never interprets a tensor's name: what a name means
 * is the business of kernel/model. Read next: safetensors.c (one file format), folder.c (a Hugging Face folder). */
#ifndef WEIGHTS_ARCHIVE_H
#define WEIGHTS_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"
#include "quant/dtype.h"

enum { ARCHIVE_MAX_DIMS = 8 };

struct tensor_view {
    const char *name;
    const char *file; /* base name of the file that holds it, for messages */
    enum dtype dtype;
    int n_dims;                       /* 0..8 */
    uint64_t shape[ARCHIVE_MAX_DIMS]; /* row-major, outermost first, as safetensors writes it */
    const unsigned char *data;        /* little-endian elements; NOT necessarily aligned to the element size. Blocks run
                                       * along the last dimension, rows follow each other without padding */
    uint64_t bytes;
};

struct archive;

enum archive_flags {
    ARCHIVE_TENSORS = 1, /* tensors are needed; without this flag the tensor files of a folder are not opened, and the
                          * tensors of a GGUF file not shown: its data may be cut */
    ARCHIVE_CONFIG = 2,  /* config.json is needed; without this flag it may be absent */
    ARCHIVE_READ = 4,    /* files are read into memory instead of being mapped. Data of tensors: archive_read_tensors */
};

/* Opens `path`: a Hugging Face folder, a GGUF file (of a split model, the first part: the others are found beside it),
 * or a single .safetensors file (its metadata is then empty of configuration: used for reference dumps). A folder
 * without config.json that holds one GGUF model stands for that model. *out is NULL on failure. The sentence names the
 * file, the place and the reason. */
sluice_status archive_open(struct archive **out, const char *path, unsigned flags, struct failure *f);
void archive_close(struct archive **a); /* nulls the pointer; NULL is fine */

enum archive_format { ARCHIVE_FOLDER, ARCHIVE_SAFETENSORS, ARCHIVE_GGUF };
enum archive_format archive_format(const struct archive *a);

const char *archive_name(const struct archive *a); /* base name of the folder or file, for people */
/* One sentence about something odd that does no harm, for example a wrong total_size in the index; NULL when all is
 * well. */
const char *archive_warning(const struct archive *a);

size_t archive_n_tensors(const struct archive *a);
const struct tensor_view *archive_tensor(const struct archive *a, size_t i);       /* sorted by name */
const struct tensor_view *archive_find(const struct archive *a, const char *name); /* NULL when absent; O(log n) */
/* The view's pages will not be read again: they may leave memory. Under ARCHIVE_READ they are zeros from then on, as is
 * any range of a view that memory_release_range is given. */
void archive_release(const struct archive *a, const struct tensor_view *t);

/* ARCHIVE_READ: views are zeros until this has read the files to their ends. SLUICE_MEMORY: they do not fit. Otherwise
 * nothing is to be done. */
sluice_status archive_read_tensors(const struct archive *a, struct failure *f);
bool archive_is_read(const struct archive *a); /* opened with ARCHIVE_READ */
/* SLUICE_IO when a file could not be read, or is mapped and has become shorter: what was made of its bytes means
 * nothing, and that is the reason of any other failure. To be asked when the bytes have been used. */
sluice_status archive_check(const struct archive *a, struct failure *f);
/* Texts and documents will not be asked for again: only tensors are from now on kept and checked. */
void archive_close_texts(struct archive *a);

/* Whether [p, p + n), which begins in a tensor, may be read: beyond the tensor, up to the last page of its file. */
bool archive_may_read(const struct archive *a, const unsigned char *p, size_t n);

/* ---- metadata: JSON documents of the folder, or the key-value pairs of a GGUF file ----------------------------- */

enum archive_document {
    DOCUMENT_CONFIG,
    DOCUMENT_GENERATION_CONFIG,
    DOCUMENT_TOKENIZER_CONFIG,
    DOCUMENT_GGUF, /* the key-value pairs; its name in messages is the file's */
    N_DOCUMENTS
};

enum meta_kind { META_ABSENT, META_NULL, META_BOOL, META_INT, META_FLOAT, META_STRING, META_ARRAY, META_OBJECT };

struct meta {
    enum meta_kind kind;
    bool boolean;
    int64_t integer;    /* a uint64 above INT64_MAX counts as INT64_MAX */
    double number;      /* of META_INT too */
    const char *string; /* NUL-terminated; of JSON: UTF-8 without NUL inside; of GGUF: any bytes, so mind n */
    size_t n;           /* elements of an array, members of an object, bytes of a string */
    const char *type;   /* for messages about GGUF values: "uint32", "array of int8"; NULL for JSON */
    const void *node;   /* private */
};

/* Value at `path`. JSON: keys separated by '.', for example "rope_scaling.factor". GGUF: one whole key, for example
 * "llama.rope.freq_base". META_ABSENT when any part is missing or the document does not exist. Values live as long as
 * the archive. Elements of arrays are found in constant time. */
struct meta archive_meta(const struct archive *a, enum archive_document d, const char *path);
struct meta meta_element(struct meta array, size_t i); /* i < array.n */
struct meta meta_member(struct meta object, const char *key);
const char *meta_kind_name(enum meta_kind k);               /* "an integer", "a string" ... for messages */
const char *archive_document_name(enum archive_document d); /* "config.json" ...; of DOCUMENT_GGUF "metadata" */

/* GGUF: the i-th key in the order of the file, for copying; NULL beyond the last, and for other formats. */
const char *archive_gguf_key(const struct archive *a, size_t i, struct meta *value);

/* safetensors' own "__metadata__" strings of the (first) tensor file; NULL when absent. */
const char *archive_tensor_metadata(const struct archive *a, const char *key);

/* ---- raw text files of the folder (NULL when the file is absent): n bytes, no NUL at the end ----------------- */

enum archive_text {
    TEXT_TOKENIZER,        /* tokenizer.json */
    TEXT_TIKTOKEN,         /* tiktoken.model */
    TEXT_TOKENIZER_CONFIG, /* tokenizer_config.json */
    TEXT_CHAT_TEMPLATE,    /* chat_template.jinja */
    TEXT_CARD,             /* README.md */
    N_TEXTS
};
const char *archive_text(const struct archive *a, enum archive_text which, size_t *n);

#endif
