/* Owns what comes in besides the model: the prompt's text from -p, -f or a pipe, and lists of token ids. */
#ifndef TOOLS_INPUT_H
#define TOOLS_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sluice/sluice.h"

enum { INPUT_MAX_BYTES = 64 << 20, INPUT_MAX_TOKENS = 16 << 20 };

/* Text, exactly as it came: a newline at the end of a file is part of it. Always UTF-8. */
struct input_text {
    char *bytes; /* [length], malloc'ed */
    size_t length;
    char origin[300]; /* for messages: "-p", "-f NAME", "standard input" */
};

/* Something was connected to standard input: a pipe, a file or a socket. */
bool input_is_piped(void);
/* The text of the option -p, or of the file of -f ("-": standard input), or, when both are NULL, of the pipe.
 * SLUICE_ARGUMENT: both are given, or there is no text at all, or it is not UTF-8 (the sentence names the byte). */
sluice_status input_read(struct input_text *out, const char *text, const char *file, sluice_error *error);
/* The text of the file that `option` names ("-": standard input). */
sluice_status input_read_file(struct input_text *out, const char *option, const char *file, sluice_error *error);
void input_free(struct input_text *text);
/* The check that input_read makes, for the texts of other options. */
sluice_status input_check_utf8(const char *origin, const char *text, size_t length, sluice_error *error);

/* Token ids, malloc'ed. */
struct input_tokens {
    int32_t *ids;
    size_t count;
};

/* "1,2,3" or "1 2 3"; at least one id. `option` names the option in messages. */
sluice_status input_parse_ids(struct input_tokens *out, const char *option, const char *list, sluice_error *error);
/* Flags of enum sluice_text_flags. */
sluice_status input_tokenize(struct input_tokens *out, const sluice_engine *engine, const struct input_text *text,
                             unsigned flags, sluice_error *error);
void input_free_tokens(struct input_tokens *tokens);

#endif
