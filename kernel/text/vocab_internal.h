/* What the files of the tokenizer share: the tables of a struct vocab and the steps that a text goes through.
 *
 *   text -> added tokens (added.c) -> normalizers (normalize.c) -> pre-tokenizers (pretokenize.c)
 *        -> merges (bpe.c) -> ids -> decoder (decode.c) -> text
 *
 * vocab.c (tokenizer.json), vocab_gguf.c (GGUF keys) or vocab_tiktoken.c (tiktoken.model) fills the tables; encode.c
 * drives the way to ids. Nothing outside kernel/text includes this file. */
#ifndef TEXT_VOCAB_INTERNAL_H
#define TEXT_VOCAB_INTERNAL_H

#include <jansson.h>

#include "text/pattern.h"
#include "text/vocab.h"

/* Limits on what a file may ask for. Real files stay below a tenth of each. */
enum {
    MAX_JSON_BYTES = 256 << 20,
    MAX_CONFIG_BYTES = 16 << 20,
    MAX_JSON_VALUES = 16 << 20, /* a tree of values is much larger than its text: a list of 2 bytes takes 136 */
    MAX_JSON_LISTS = 9 << 20,   /* lists and objects: one for each merge, and some */
    MAX_TOKENS = 4194304,
    MAX_TOKEN_BYTES = 4096,
    MAX_MERGES = 8388608,
    MAX_STEPS = 32,    /* normalizers, pre-tokenizers, decoders */
    MAX_TEMPLATE = 16, /* ids before, ids after the text */
    MAX_INPUT_BYTES = 256 << 20,
};

/* ---- the vocabulary --------------------------------------------------------------------------------------------- */

enum token_flags {
    TOKEN_MODEL = 1, /* made from characters, by merges */
    TOKEN_ADDED = 2, /* found in the text before that */
    TOKEN_SPECIAL = 4,
    TOKEN_SILENT = 8, /* never found by its spelling: bytes and unused tokens of GGUF files */
}; /* none: the id is a hole */

struct token {
    uint32_t text, bytes; /* offsets in pool: the spelling in the file; what it decodes to */
    uint16_t n_text, n_bytes;
    uint8_t flags;
    uint8_t added; /* enum added_flags, for TOKEN_ADDED */
};

/* One slot of the table (left id, right id) -> merged id. An empty slot has left == -1. */
struct merge {
    int32_t left, right;
    int32_t id;
    uint32_t rank; /* the smaller, the earlier */
};

/* The kinds of "tokenizer.ggml.token_type". */
enum token_kind { KIND_NORMAL = 1, KIND_UNKNOWN, KIND_CONTROL, KIND_USER_DEFINED, KIND_UNUSED, KIND_BYTE };

/* U+2581, SentencePiece's stand-in of a blank. */
#define BLOCK "\xe2\x96\x81"
enum { BLOCK_BYTES = sizeof BLOCK - 1 };

/* An added token is found in the text before anything else looks at it. `pattern` is what is searched for: the content,
 * or for `normalized` tokens the normalized content. */
enum added_flags {
    ADDED_SINGLE_WORD = 1, /* only where no word goes on at either side */
    ADDED_LSTRIP = 2,      /* takes the blanks before it along */
    ADDED_RSTRIP = 4,      /* and those after it */
    ADDED_NORMALIZED = 8,
    ADDED_SPECIAL = 16,
};

struct added {
    uint32_t pattern; /* offset in pool */
    uint32_t n_pattern;
    int32_t id;
    unsigned flags;
};

struct added_set {
    struct added *items; /* sorted by pattern, bytewise */
    size_t n;
    uint32_t first[257]; /* items whose pattern begins with byte b: first[b] .. first[b + 1] */
};

/* ---- the steps -------------------------------------------------------------------------------------------------- */

enum normalizer_kind {
    NORMALIZE_UNICODE, /* NFC, NFD, NFKC, NFKD */
    NORMALIZE_LOWERCASE,
    NORMALIZE_STRIP,
    NORMALIZE_STRIP_ACCENTS,
    NORMALIZE_PREPEND,
    NORMALIZE_REPLACE,
    NORMALIZE_BYTE_LEVEL,
};

struct normalizer {
    enum normalizer_kind kind;
    bool compose, compatibility; /* UNICODE */
    bool left, right;            /* STRIP */
    struct pattern *pattern;     /* REPLACE */
    char *content;               /* PREPEND, REPLACE */
    size_t n_content;
};

/* What becomes of the separators that a split finds. */
enum split_behavior { SPLIT_ISOLATED, SPLIT_REMOVED, SPLIT_MERGED_PREVIOUS, SPLIT_MERGED_NEXT, SPLIT_CONTIGUOUS };

enum pretokenizer_kind {
    PRETOKENIZE_SPLIT_PATTERN, /* separators are the matches of `pattern` */
    PRETOKENIZE_SPLIT_CLASS,   /* separators are the characters of `class` */
    PRETOKENIZE_METASPACE,     /* blank -> `mark`, and `mark` in front of the piece */
    PRETOKENIZE_MAP_BYTES,     /* every byte -> its printable character */
    PRETOKENIZE_CHUNK,         /* pieces of `length` characters */
    PRETOKENIZE_GROUP_DIGITS,  /* runs of digits of `class` in groups of three from the right; `alone`: not the runs
                                * inside longer words, 12ab */
};

enum char_class { CLASS_WHITE_SPACE, CLASS_NUMERIC, CLASS_DIGIT, CLASS_PUNCTUATION, CLASS_ONE };
enum prepend_scheme { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };

struct pretokenizer {
    enum pretokenizer_kind kind;
    enum split_behavior behavior;
    bool invert; /* the matches are the words, the rest the separators */
    struct pattern *pattern;
    enum char_class class;
    int32_t one; /* CLASS_ONE */
    bool alone;  /* GROUP_DIGITS */
    char mark[4];
    size_t n_mark;
    enum prepend_scheme scheme;
    size_t length;
};

enum decoder_kind { DECODE_REPLACE, DECODE_STRIP, DECODE_BYTE_LEVEL, DECODE_BYTE_FALLBACK, DECODE_METASPACE };

/* A decoder step that works on one token at a time; applied once to each token, at load. */
struct decoder_step {
    enum decoder_kind kind;
    struct pattern *pattern; /* REPLACE */
    char *content;
    size_t n_content;
    char mark[4]; /* STRIP, METASPACE: one character */
    size_t n_mark;
    size_t start, stop; /* STRIP: how many to remove at most at either end */
};

struct decoder {
    struct decoder_step steps[MAX_STEPS];
    size_t n_steps;
    bool absent;        /* no decoder: tokens are joined with blanks */
    bool fused;         /* the tokens have become one text: a Strip that follows works on its ends */
    bool byte_fallback; /* invalid UTF-8 shows as one U+FFFD per byte, otherwise one per broken character */
    bool drop_marks;    /* Metaspace: the first token loses its marks instead of showing them as blanks */
    char strip[4];      /* Strip after Fuse: this character, up to strip_start times, at the beginning of the text */
    size_t n_strip, strip_start;
};

struct vocab {
    struct text_buffer pool; /* all token texts */
    struct token *tokens;    /* [n_tokens], by id */
    int32_t n_tokens;
    size_t n_used;   /* of the ids; the others are holes */
    uint32_t *slots; /* spelling -> id + 1, 0 empty; open addressing */
    size_t n_slots;
    uint64_t seed; /* of the hash: nobody can prepare a file that collides */

    struct merge *merges;
    size_t n_merge_slots;
    uint32_t *ranks;     /* [n_tokens], or NULL. With it there are no merges: any two neighbours that together spell a
                          * token of the model may become it, the smallest rank first (SentencePiece, tiktoken) */
    size_t longest;      /* bytes of the longest token of the model, with ranks */
    int32_t byte_ids[256]; /* byte fallback: "<0x0A>"; -1 when off */
    int32_t unk_id;        /* -1: unknown characters vanish */
    bool fuse_unk, ignore_merges;

    struct added_set added_raw, added_normalized;
    struct normalizer normalizers[MAX_STEPS];
    size_t n_normalizers;
    struct pretokenizer pretokenizers[MAX_STEPS];
    size_t n_pretokenizers;
    struct decoder decoder;

    int32_t before[MAX_TEMPLATE], after[MAX_TEMPLATE]; /* ids that the post-processor adds */
    size_t n_before, n_after;
    int32_t bos_id, eos_id;
    int32_t pad_id; /* for vocab_describe only */
};

/* ---- state of one call of vocab_encode -------------------------------------------------------------------------- */

struct piece {
    size_t start, n; /* bytes in work.text */
    bool first;      /* lies at the very beginning of the input */
};

struct span {
    size_t start, end;
    bool match;
};

struct symbol {
    int32_t id;         /* -1: a character without a token, only with ranks */
    int32_t prev, next; /* -1: none */
    uint32_t start, n;  /* bytes in the word, only with ranks */
    bool gone;          /* merged into its left neighbour */
};

struct candidate {
    uint32_t rank;
    int32_t position, id;
};

struct work {
    const struct vocab *vocab;
    struct failure *f;
    bool parse_special;
    struct matcher matcher;
    size_t text_limit; /* no step may make the text longer than this */
    bool is_loading;   /* the text is a token of the file: work_limit_token */
    uint64_t n_scanned; /* while loading: what patterns may have looked at, bytes of a token squared for each */
    struct text_buffer normalized, text, other;
    struct piece *pieces, *next_pieces;
    size_t n_pieces, n_next, cap_pieces, cap_next;
    struct span *spans;
    size_t n_spans, cap_spans;
    const char *word;    /* that is being merged */
    uint32_t rank_limit; /* with ranks, only smaller ones merge */
    struct symbol *symbols;
    size_t n_symbols, cap_symbols;
    struct candidate *heap;
    size_t n_heap, cap_heap;
    int32_t *out;
    size_t cap, n_out;
};

void work_init(struct work *w, const struct vocab *v, size_t input_bytes, struct failure *f);
/* For what a file makes of its own tokens, one after the other: the length that the text of one may get, and what is
 * said when that, or a pattern, goes wrong: "BEFORE ID AFTER: REASON" instead of "input: REASON". */
void work_limit_token(struct work *w, size_t token_bytes);
sluice_status work_token_fail(struct work *w, sluice_status status, const char *before, int32_t id, const char *after);
void work_free(struct work *w);
/* text_buffer_append that respects text_limit and words the failure. */
sluice_status work_append(struct work *w, struct text_buffer *b, const char *data, size_t n);
/* Makes room for `need` elements of `size` bytes; doubles. */
sluice_status work_reserve(struct work *w, void *array_pointer, size_t *cap, size_t need, size_t size);
void work_emit(struct work *w, int32_t id);

/* ---- the parts -------------------------------------------------------------------------------------------------- */

/* Every load function words its failure without the file's name; vocab_create puts it in front. */
sluice_status model_load(struct vocab *v, const json_t *root, struct failure *f);         /* model.c */
sluice_status normalizers_load(struct vocab *v, const json_t *node, struct failure *f);   /* normalize.c */
sluice_status pretokenizers_load(struct vocab *v, const json_t *node, struct failure *f); /* pretokenize.c */
sluice_status added_load(struct vocab *v, const json_t *list, struct failure *f);         /* added.c */
sluice_status added_from_config(struct vocab *v, const json_t *config, struct failure *f);
/* Gives back room behind the last token that reading made and did not need. In a GGUF file every place is an id. */
void added_trim(struct vocab *v);
sluice_status added_finish(struct vocab *v, struct failure *f); /* after all of them, and after the normalizers */
sluice_status decoder_load(struct vocab *v, const json_t *node, struct failure *f); /* decode.c */
void decoder_free(struct decoder *d);
sluice_status template_load(struct vocab *v, const json_t *node, struct failure *f);          /* template.c */
sluice_status template_from_config(struct vocab *v, const json_t *config, struct failure *f); /* template.c */

/* Text in, text out; `out` is overwritten. */
sluice_status normalize(struct work *w, const char *text, size_t n, struct text_buffer *out);
/* Appends text [n] to `out` with every match of the pattern replaced. */
sluice_status replace_matches(struct work *w, const struct pattern *pattern, const char *content, size_t n_content,
                              const char *text, size_t n, struct text_buffer *out);
/* Cuts text [n] into w->pieces over w->text. */
sluice_status pretokenize(struct work *w, const char *text, size_t n, bool first);
sluice_status pretokenizer_add(struct vocab *v, struct pretokenizer step, struct failure *f); /* takes the pattern */
sluice_status bpe_encode(struct work *w, const char *word, size_t n);
/* What the spelling of token `id` becomes by merges alone; with ranks, by those before its own. *n is the number of
 * parts, first the ids of two of them. */
sluice_status bpe_parts(struct work *w, int32_t id, int32_t first[2], size_t *n);
bool is_byte_level(const struct vocab *v);                                /* vocab.c */
sluice_status check_byte_level(const struct vocab *v, struct failure *f); /* model.c */
/* Fills in what each token decodes to, by its spelling (vocab_gguf.c). */
sluice_status decode_tokens(struct vocab *v, bool sentencepiece, struct failure *f);

/* ---- tables that both kinds of files fill (model.c) ------------------------------------------------------------- */

sluice_status merges_reserve(struct vocab *v, size_t count, struct failure *f);
/* Adds the merge with the next rank; its two sides and their sum must be tokens. */
sluice_status merge_add(struct vocab *v, size_t rank, const char *const side[2], const size_t n[2], struct failure *f);
/* Cuts "left right" at its only blank; false when there is not exactly one. */
bool merge_cut(const char *text, size_t n, const char *side[2], size_t n_side[2]);
int byte_of_token(const char *text, size_t n); /* "<0x0A>" -> 10; -1: bad; -2: does not look like one */

/* ---- pre-tokenizers by name (pre.c) ----------------------------------------------------------------------------- */

enum pre_flags {
    PRE_IGNORE_MERGES = 1, /* a word that is a token stays one */
    PRE_ADD_BOS = 2,       /* unless the file says otherwise */
    PRE_NFC = 4,           /* the original normalizes first */
};

extern const char pattern_of_gpt2[];
/* Adds the steps of the pre-tokenizer `name` ("qwen2"), the mapping of bytes included. */
sluice_status pre_load(struct vocab *v, const char *name, unsigned *flags, struct failure *f);
/* The name whose steps are those of `v`; NULL when there is none. complete: a word that is a token becomes it by merges
 * too. *near: there are texts that the name cuts in another way. */
const char *pre_recognize(const struct vocab *v, bool complete, bool *near);

/* A walk over the added tokens in a text. Zero-initialise; each call fills item, start and end (the blanks that the
 * token takes with it included). */
struct added_walk {
    const struct added *item;
    size_t start, end;
    size_t from; /* where the search goes on */
};

/* False when there is none left. Special tokens count only with parse_special. */
bool added_next(const struct vocab *v, const struct added_set *set, const char *text, size_t n, bool parse_special,
                struct added_walk *walk);

/* ---- tokens (tokens.c) ------------------------------------------------------------------------------------------ */

sluice_status tokens_reserve(struct vocab *v, size_t n_ids, struct failure *f); /* ids 0 .. n_ids - 1 may be added */
sluice_status token_add(struct vocab *v, int32_t id, const char *text, size_t n, unsigned flags, struct failure *f);
int32_t token_find(const struct vocab *v, const char *text, size_t n);       /* -1: none */
int32_t token_find_model(const struct vocab *v, const char *text, size_t n); /* only tokens of the model */
/* Appends to the pool; fails above 4 GiB. */
sluice_status pool_append(struct vocab *v, const char *data, size_t n, uint32_t *offset, struct failure *f);

/* ---- reading JSON (vocab_json.c) -------------------------------------------------------------------------------- */

/* Parses; checks size, depth, number of values, duplicate keys. The root is an object. Integers beyond 64 bits are
 * real. */
sluice_status json_read(json_t **out, const char *data, size_t n, size_t max_bytes, struct failure *f);
/* Typed getters. An absent key and null leave *out as it is; another type is an error. */
sluice_status json_get_bool(const json_t *object, const char *key, bool *out, struct failure *f);
sluice_status json_get_size(const json_t *object, const char *key, size_t *out, struct failure *f);
/* For words that are compared: text without NUL. */
sluice_status json_get_word(const json_t *object, const char *key, const char **word, struct failure *f);
sluice_status json_get_text(const json_t *object, const char *key, const char **text, size_t *n, struct failure *f);
/* A key that must hold one character; *n is its bytes. */
sluice_status json_get_char(const json_t *object, const char *key, char mark[4], size_t *n, struct failure *f);
/* {"String": "..."} or {"Regex": "..."} under "pattern" -> pattern. */
sluice_status json_get_pattern(const json_t *object, struct pattern **out, struct failure *f);
sluice_status json_get_copy(const json_t *object, const char *key, char **out, size_t *n, struct failure *f);
/* Calls `read` for every step in `node`, the lists of nested "Sequence" steps opened. `place` names it in failures. */
typedef sluice_status (*step_reader)(struct vocab *v, const json_t *step, const char *type, struct failure *f);
sluice_status json_each_step(struct vocab *v, const json_t *node, const char *list_key, const char *place,
                             step_reader read, struct failure *f);


/* ---- characters (unicode.c) ------------------------------------------------------------------------------------- */

/* What bytes [n >= 1] are: the length of the character they begin with, 0 when it is cut off, -1 when not UTF-8. */
int utf8_check(const unsigned char *bytes, size_t n);
size_t utf8_valid_bytes(const char *text, size_t n); /* n when all of it is UTF-8 */
size_t utf8_read(const char *text, int32_t *c);      /* text is valid UTF-8; returns the bytes read */
size_t utf8_write(char out[4], int32_t c);
size_t utf8_back(const char *text, size_t at, int32_t *c); /* the character that ends at `at` > 0 */
bool is_white_space(int32_t c);
bool is_numeric(int32_t c);     /* Nd, Nl, No */
bool is_decimal(int32_t c);     /* Nd */
bool is_punctuation(int32_t c); /* P*, and all ASCII symbols */
bool is_word(int32_t c);
bool is_mark(int32_t c);             /* Mn, Mc, Me */
int32_t byte_to_char(unsigned byte); /* the printable stand-in of a byte in byte-level texts */
int char_to_byte(int32_t c);         /* and back; -1 for other characters */

#endif
