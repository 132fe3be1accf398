/* The sentence that goes with a failing status, written once, where the failure is found.
 *
 * Form of a sentence about a file: "NAME: PLACE: REASON", for example
 * "config.json: num_experts_per_tok: 9 exceeds num_experts 8". The program prints "error: " before it.
 * Bytes that came from a file pass through escape_text first, so that no control character reaches a terminal. */
#ifndef BASE_FAILURE_H
#define BASE_FAILURE_H

#include <stddef.h>

#include "sluice/status.h"

enum { FAILURE_TEXT_BYTES = 4096 };

struct failure {
    sluice_status status;
    char text[FAILURE_TEXT_BYTES]; /* NUL-terminated, one line, no "error: " prefix, no newline */
};

/* Records status and sentence in `f` (may be NULL) and returns `status`, so that a caller can write
 * `return fail(f, SLUICE_FORMAT, "%s: ...", name);`. A sentence that is too long is cut. Newlines become spaces. */
sluice_status fail(struct failure *f, sluice_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "PLACE: not enough memory"; without a place (NULL) "not enough memory". Returns SLUICE_MEMORY. */
sluice_status fail_memory(struct failure *f, const char *place);

/* Puts `prefix` and ": " before the sentence that is already there; returns f->status. */
sluice_status fail_in(struct failure *f, const char *prefix);

/* Copies `n` bytes of untrusted text into `out` (capacity `cap` >= 8, always NUL-terminated): printable ASCII as it
 * is, everything else and '"' and '\\' as \xNN, cut with "..." after 64 source bytes. Returns `out`. */
char *escape_text(char *out, size_t cap, const char *text, size_t n);
enum { ESCAPED_BYTES = 64 * 4 + 4 };

/* clang's analyzer sees one file at a time; without this it believes that a failure may have the status SLUICE_OK. */
#if defined __clang_analyzer__ && !defined FAILURE_IS_DEFINED_HERE
#define fail(f, status, ...)  ((fail)(f, status, __VA_ARGS__), (status))
#define fail_memory(f, place) ((fail_memory)(f, place), SLUICE_MEMORY)
#define fail_in(f, prefix)    ((fail_in)(f, prefix), SLUICE_FORMAT)
#endif

#endif
