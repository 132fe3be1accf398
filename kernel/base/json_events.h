/* A pull parser for JSON text that stays where it is: json_next() names the next event, nothing is allocated.
 *
 * Owns the grammar, the depth limit, the UTF-8 check and exact positions of errors. It builds no tree: tensor headers
 * with 100,000 entries are read event by event (safetensors.c), documents and tokenizers become a tree (json_tree.h).
 *
 *     {"shape": [4, 5]}   ->   OBJECT_OPEN  KEY shape  ARRAY_OPEN  NUMBER 4  NUMBER 5  ARRAY_CLOSE  OBJECT_CLOSE  END
 *
 * Read next: json_tree.h, weights/safetensors.c. */
#ifndef BASE_JSON_EVENTS_H
#define BASE_JSON_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"

enum { JSON_MAX_DEPTH = 64 };

enum json_event {
    EVENT_ERROR,
    EVENT_END,
    EVENT_OBJECT_OPEN,
    EVENT_OBJECT_CLOSE,
    EVENT_ARRAY_OPEN,
    EVENT_ARRAY_CLOSE,
    EVENT_KEY,
    EVENT_STRING,
    EVENT_NUMBER,
    EVENT_TRUE,
    EVENT_FALSE,
    EVENT_NULL
};

enum json_problem { JSON_FINE, JSON_SYNTAX, JSON_NOT_UTF8, JSON_TOO_DEEP, JSON_NOT_FINITE };

struct json_reader {
    const char *text; /* [n], not NUL-terminated */
    size_t n, at;

    /* The token of the latest event: for strings and keys the bytes between the quotes, escapes not yet replaced. */
    const char *raw;
    size_t raw_n;

    size_t depth; /* open objects and arrays, counted after the event */
    bool in_object[JSON_MAX_DEPTH];
    int expect; /* private: what the grammar allows next */

    enum json_problem problem; /* after EVENT_ERROR */
    size_t problem_at;
    const char *reason;
};

void json_start(struct json_reader *r, const char *text, size_t n);
enum json_event json_next(struct json_reader *r);
/* After an OPEN event: moves behind the CLOSE that belongs to it. Other events need no skipping. False on error. */
bool json_skip(struct json_reader *r, enum json_event opened);

/* Writes the latest string or key with its escapes replaced to out [raw_n + 1 bytes], ends it with NUL and stores its
 * length. False when the text holds a NUL or half of a surrogate pair: such text is no C string and no UTF-8. */
bool json_text(const struct json_reader *r, char *out, size_t *n);
bool json_text_with_nul(const struct json_reader *r, char *out, size_t *n); /* false only for half a surrogate pair */
bool json_text_is(const struct json_reader *r, const char *text); /* compares the raw bytes: enough for plain keys */
/* The latest number as an unsigned integer; false for a sign, a fraction, an exponent or 2^64 and above. */
bool json_u64(const struct json_reader *r, uint64_t *out);

/* Records the reader's error as "PLACE: JSON error at byte 52: REASON" or its special forms; place NULL: without it. */
sluice_status json_fail(const struct json_reader *r, const char *place, struct failure *f);

#endif
