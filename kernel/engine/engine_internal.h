/* What the parts of the engine share. */
#ifndef ENGINE_INTERNAL_H
#define ENGINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/failure.h"
#include "base/team.h"
#include "model/forward.h"
#include "model/model.h"
#include "sluice/experimental.h"
#include "text/vocab.h"

enum { LICENSE_BYTES = 128 };

struct archive;

struct sluice_engine {
    struct model model;     /* zero when only a tokenizer was opened */
    bool has_model, has_weights;
    struct archive *archive; /* open as long as the model reads weights in its files; else NULL */
    struct vocab *vocab;    /* NULL: no tokenizer files */
    struct team team;       /* one pass at a time: */
    pthread_mutex_t team_lock;
    char name[256], license[LICENSE_BYTES];
    const char *isa;         /* static text */
    uint64_t features;
};

struct sluice_session {
    struct sluice_engine *engine;
    struct arena arena;      /* cache, workspace, tokens */
    struct cache cache;
    struct workspace ws;
    struct surgery surgery;  /* of every row of the session */
    int n_context, n_chunk;
    enum dtype cache_type;
    int32_t *tokens;         /* [n_context] the timeline; cache.length of them are valid */
    struct row *rows;        /* [n_chunk] of the pass that is prepared */
    float *logits;           /* [vocab_size] of the last token */
    bool has_logits;
    float *kept_logits;      /* [CACHE_CHECKPOINTS][ld_vocab] of the token before each checkpoint, by place */
    int kept_at[CACHE_CHECKPOINTS]; /* position of that checkpoint, or 0: no logits were asked for there */
    atomic_bool cancel;
    struct observation_relay *relay; /* experimental.c; NULL: nobody looks on */
    struct trace *trace;             /* profile.c; NULL: nobody measures */
    struct candidate *candidates;    /* [vocab_size] scratch of sampler.c, and the next three: [ld_vocab] */
    float *probabilities, *kept_probabilities, *penalised;
    struct failure failure;
    sluice_session_stats stats;
};

/* One entry of the sampler's list. */
struct candidate {
    float logit;
    int32_t id;
};

/* Hands what a pass shows on to the public observer, rows made contiguous. */
struct observation_relay {
    struct observer inner;
    unsigned char *copy;
    sluice_observer outer;
};

/* Frees the relay of an observer and nulls the pointer; NULL is fine. */
void relay_free(struct observation_relay **relay);

/* What the model card's front matter, between two lines "---" at its beginning, or a GGUF key says: "apache-2.0"; or
 * nothing. */
void read_license(char out[LICENSE_BYTES], const struct archive *a);

/* The tokenizer of a folder; *out is NULL on failure, and when the folder has none. */
sluice_status open_folder_vocab(struct vocab **out, const struct archive *a, struct failure *f);

/* Memory that a session with these options needs on a model whose shapes and layouts are known; 0: it cannot be. */
uint64_t session_bytes(const sluice_engine *e, const sluice_session_options *options);

/* Checks what a session is to change against the model; NULL: nothing. */
sluice_status surgery_check(const struct model_config *c, const sluice_expert_surgery *s, struct failure *f);
/* True if single experts are marked; then fills marks [n_layers, n_experts], zeros before, of what passed the check. */
bool surgery_has_marks(const sluice_expert_surgery *s);
void surgery_mark(const struct model_config *c, const sluice_expert_surgery *s, unsigned char *marks, int n_experts);

/* Text was asked of a model without a tokenizer. */
sluice_status fail_no_tokenizer(const sluice_engine *e, struct failure *f);

/* Copies a failure to the caller's error and returns its status. */
sluice_status report_failure(sluice_error *error, const struct failure *f);

#endif
