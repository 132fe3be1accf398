/* struct vocab: a tokenizer as its checkpoint describes it: string <-> token ids.
 *
 * Built from the bytes of tokenizer.json (and tokenizer_config.json), or from GGUF keys; knows nothing of files.
 * Immutable after creation, so any number of threads may use one vocab. Read next: pretokenize.c (cutting text into
 * words), bpe.c (merging), decode.c (ids back to text). */
#ifndef TEXT_VOCAB_H
#define TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"

struct vocab;

/* tokenizer_config (and its length) may be NULL / 0. *out is NULL on failure. */
sluice_status vocab_create(struct vocab **out, const char *tokenizer_json, size_t tokenizer_bytes,
                           const char *tokenizer_config, size_t config_bytes, struct failure *f);

/* tiktoken.model: lines "BASE64 RANK", the bytes of each token in the order in which they merge. The file says neither
 * how words are cut nor what the special tokens are: tokenizer_config (needed) has the latter, the former follows from
 * its tokenizer_class, of which one is known: TikTokenTokenizer of Moonlight and Kimi. */
sluice_status vocab_create_tiktoken(struct vocab **out, const char *model, size_t model_bytes,
                                    const char *tokenizer_config, size_t config_bytes, struct failure *f);

/* A tokenizer as the keys "tokenizer.ggml.*" of a GGUF file describe it; the caller (engine) reads them from the
 * archive. Pointers need live only during the call. */
struct vocab_source {
    const char *model;           /* "gpt2": byte-level BPE with merges; "llama": SentencePiece with scores;
                                  * "gemma4": its alphabet with merges */
    const char *pre;             /* name of the pre-tokenizer; NULL: absent */
    size_t n_tokens;
    const char *const *tokens;   /* [n_tokens] */
    const size_t *token_lengths; /* bytes; a token may hold any byte */
    const int32_t *types;        /* [n_tokens], or NULL: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused,
                                  * 6 byte */
    const float *scores;         /* [n_tokens], or NULL */
    size_t n_merges;
    const char *const *merges;   /* "left right" */
    const size_t *merge_lengths;
    int32_t bos, eos, unknown, padding;           /* -1: absent */
    int add_bos, add_eos, add_space_prefix;       /* 0, 1; -1: absent, so the model's and pre's default */
    bool strip_after_special;                     /* Phi-3: special tokens take the blanks behind them along */
};
/* A file that has merges and is of model "llama" is read by its merges, not by its scores. */
sluice_status vocab_create_gguf(struct vocab **out, const struct vocab_source *source, struct failure *f);

/* For a vocabulary from a tokenizer.json that lies inside a GGUF file: bos, eos, add_bos and add_eos of the keys beside
 * it, as tokenizer_config.json would say them. A post-processor that adds anything still decides alone. */
sluice_status vocab_set_ids(struct vocab *v, const struct vocab_source *source, struct failure *f);

/* The other way, for the quantiser: describes `v`, which came from a folder, as GGUF keys. Arrays are owned by the
 * result (vocab_source_free). `n_tokens` is what the model has, 0: as many as `v`; unused tokens are put behind,
 * special ones beyond left out. *exact: reading this back gives the same ids for every text; false where GGUF has no
 * word for what this tokenizer does (then the file should carry tokenizer.json itself, as key
 * "tokenizer.huggingface.json"). */
sluice_status vocab_describe(const struct vocab *v, size_t n_tokens, struct vocab_source *out, bool *exact,
                             struct failure *f);
void vocab_source_free(struct vocab_source *s); /* only what vocab_describe gave */

void vocab_free(struct vocab **v); /* nulls the pointer; NULL is fine */

int32_t vocab_size(const struct vocab *v);   /* highest id + 1, added tokens included */
int32_t vocab_core_size(const struct vocab *v); /* without the special tokens at the end that no merge makes */
int32_t vocab_bos_id(const struct vocab *v); /* from tokenizer_config's bos_token or the GGUF key; -1: there is none */
int32_t vocab_eos_id(const struct vocab *v);
bool vocab_is_special(const struct vocab *v, int32_t id); /* an added token flagged special */
size_t vocab_bytes(const struct vocab *v);   /* memory it holds */

enum vocab_flags {
    VOCAB_PARSE_SPECIAL = 1, /* the text of special tokens in the input becomes those tokens; otherwise it is text */
    VOCAB_NO_BOS = 2,        /* leave out what the post-processor / add_bos_token would add (BOS and EOS alike) */
};

/* Encodes `len` bytes of UTF-8. Writes up to `cap` ids; *n is always the full count, so cap 0 asks for the size
 * (out may then be NULL). Fails on invalid UTF-8 ("input: not UTF-8 at byte 17") and on a pattern that exceeds its
 * match limit. Time is linear in `len` (times log) for every input; no recursion on input. */
sluice_status vocab_encode(const struct vocab *v, const char *text, size_t len, unsigned flags, int32_t *out,
                           size_t cap, size_t *n, struct failure *f);

/* The bytes that token `id` stands for on its own, before any stripping at the beginning of a text; maybe a fragment
 * of a UTF-8 character. Special and other added tokens count as well. An id without a token gives length 0. */
const char *vocab_token_bytes(const struct vocab *v, int32_t id, size_t *n);

/* ---- ids -> text, as a stream --------------------------------------------------------------------------------
 * Gives exactly what decoding all ids at once gives (Hugging Face's decode with skip_special_tokens as flagged and
 * clean_up_tokenization_spaces off), in pieces that never end inside a UTF-8 character. Bytes that can never become
 * UTF-8 are replaced by U+FFFD when VOCAB_DECODE_REPLACE is set, else passed through. One difference, for invalid runs
 * of byte-fallback tokens: see decode.c. */
enum vocab_decode_flags {
    VOCAB_DECODE_SPECIAL = 1, /* show special tokens instead of skipping them */
    VOCAB_DECODE_REPLACE = 2,
    VOCAB_DECODE_CONTINUE = 4, /* the ids continue a text: no stripping of the leading space of the first token */
};

struct text_decoder {
    const struct vocab *vocab;
    unsigned flags;
    bool started;      /* a token has been shown */
    size_t n_stripped; /* leading characters removed so far, or as many as may be: stripping is over */
    size_t n_held;
    unsigned char held[4]; /* the beginning of a UTF-8 character, 0..3 bytes */
};

void text_decoder_init(struct text_decoder *d, const struct vocab *v, unsigned flags);
/* Appends the text of `id` to a growing buffer; returns SLUICE_MEMORY when it cannot grow. */
struct text_buffer {
    char *data; /* memory_alloc'ed; free with text_buffer_free */
    size_t n, cap;
};
sluice_status text_decoder_push(struct text_decoder *d, int32_t id, struct text_buffer *out);
sluice_status text_decoder_finish(struct text_decoder *d, struct text_buffer *out); /* flushes what is held */
sluice_status text_buffer_append(struct text_buffer *b, const char *data, size_t n);
void text_buffer_free(struct text_buffer *b);

#endif
