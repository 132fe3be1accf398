/* Owns the one question that the tools ask about UTF-8: where is it not? */
#ifndef TOOLS_UTF8_H
#define TOOLS_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Length (1..4) of the valid UTF-8 sequence at the beginning of the n bytes, 0 when there is none. *code_point (may be
 * NULL) is set when there is one. Surrogates, overlong forms and values above U+10FFFF are not valid. */
size_t utf8_sequence(const char *text, size_t n, uint32_t *code_point);
/* Index of the first byte that does not belong to valid UTF-8; n when all do. */
size_t utf8_prefix(const char *text, size_t n);

#endif
