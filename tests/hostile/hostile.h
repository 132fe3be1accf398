/* The catalogue of malformed files: rows G (GGUF header and metadata), T (tensors and data), S (safetensors), C (index
 * and configuration), K (tokenizer) of known attacks and crashes, each row with several values.
 *
 * A case is a function that writes one model with exactly one thing wrong, and the sentence that must come of it. The
 * same cases are opened through the library and through the program (test_catalogue.c), and written into a folder for
 * people and fuzzers (write_catalogue.c). A new case is a line in one of the lists below. */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sluice/status.h"
#include "tests/support/folder.h"

/* Where a case is written. */
struct hostile {
    struct test_folder folder; /* empty at first; sentences about it call it "model" */
    char path[1024];           /* what is opened: the folder, unless the writer sets a file in it */
    const char *skip;          /* the writer says here why this machine cannot have the file; else NULL */
};

enum hostile_flags {
    HOSTILE_TOKENIZER = 1, /* opened for its tokenizer only, by `sluice tokenize`; all others by `sluice inspect` */
    HOSTILE_WEIGHTS = 2,   /* found while the weights are read into memory: `sluice inspect`, which reads none, accepts
                              the model without a word */
    HOSTILE_PASS = 4,      /* found by the first pass: opening and `sluice inspect` accept the model without a word;
                              `sluice logits` prints the sentence */
};

/* In a line these stand for what differs between machines. */
#define HOSTILE_FOLDER "\1" /* the path of the folder */
#define HOSTILE_NUMBER "\2" /* a decimal number */
#define HOSTILE_REST   "\3" /* anything, up to the end */

struct hostile_case {
    const char *row;  /* "G06" */
    const char *what; /* "tensor count 2^40": unique within the row */
    void (*write)(struct hostile *h, uint64_t value);
    uint64_t value;   /* given to `write`, so that one writer serves several values */
    int status;       /* enum sluice_status of sluice_engine_open; SLUICE_OK: the model is accepted */
    const char *line; /* the exact sentence of the error; of an accepted model the exact warning, or NULL for none */
    unsigned flags;   /* enum hostile_flags */
};

extern const struct hostile_case hostile_gguf[], hostile_safetensors[], hostile_config[], hostile_tokenizer[];
extern const size_t n_hostile_gguf, n_hostile_safetensors, n_hostile_config, n_hostile_tokenizer;

struct hostile_list {
    const char *name; /* "gguf" */
    const struct hostile_case *cases;
    const size_t *n;
};
enum { N_HOSTILE_LISTS = 4 };
extern const struct hostile_list hostile_lists[N_HOSTILE_LISTS];

/* For writers: the file of this name in the folder is what is opened. */
void hostile_open_file(struct hostile *h, const char *name);

/* Makes the folder `parent`/model, which must not exist, and writes the case into it. */
void hostile_write(struct hostile *h, const struct hostile_case *c, const char *parent);

/* Whether `found` is what `line` says. NULL lines say nothing, like an empty one. */
bool hostile_fits(const char *line, const char *found, const struct hostile *h);

#endif
