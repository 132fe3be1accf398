/* Owns reading of prompts and token lists, with their limits. */
#include "input.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output.h"
#include "utf8.h"

bool input_is_piped(void)
{
    struct stat info;
    if (fstat(STDIN_FILENO, &info) != 0) return false;
    return S_ISFIFO(info.st_mode) || S_ISREG(info.st_mode) || S_ISSOCK(info.st_mode);
}

sluice_status input_check_utf8(const char *origin, const char *text, size_t length, sluice_error *error)
{
    size_t valid = utf8_prefix(text, length);
    if (valid == length) return SLUICE_OK;
    return set_error(error, SLUICE_ARGUMENT, "%s: not UTF-8 at byte %zu (0x%02x)", origin, valid,
                     (unsigned char)text[valid]);
}

/* Appends everything that `from` gives to the text. */
static sluice_status read_all(struct input_text *out, FILE *from, sluice_error *error)
{
    size_t capacity = 0;
    for (;;) {
        if (out->length == capacity) {
            size_t larger = capacity ? 2 * capacity : 1 << 16;
            if (capacity > INPUT_MAX_BYTES)
                return set_error(error, SLUICE_ARGUMENT, "%s: longer than %d bytes", out->origin, INPUT_MAX_BYTES);
            char *bytes = realloc(out->bytes, larger);
            if (!bytes) return set_error(error, SLUICE_MEMORY, "%s: not enough memory for the text", out->origin);
            out->bytes = bytes;
            capacity = larger;
        }
        size_t n = fread(out->bytes + out->length, 1, capacity - out->length, from);
        out->length += n;
        if (n == 0) break;
    }
    if (ferror(from)) return set_error(error, SLUICE_IO, "%s: %s", out->origin, strerror(errno));
    if (out->length > INPUT_MAX_BYTES)
        return set_error(error, SLUICE_ARGUMENT, "%s: longer than %d bytes", out->origin, INPUT_MAX_BYTES);
    return SLUICE_OK;
}

static sluice_status read_file(struct input_text *out, const char *option, const char *file, sluice_error *error)
{
    char shown[256];
    if (!file || strcmp(file, "-") == 0) {
        snprintf(out->origin, sizeof out->origin, "standard input");
        return read_all(out, stdin, error);
    }
    quote_bytes(shown, sizeof shown, file, strlen(file));
    snprintf(out->origin, sizeof out->origin, "%s %s", option, shown);
    FILE *from = fopen(file, "rb");
    if (!from) return set_error(error, SLUICE_IO, "%s: %s", out->origin, strerror(errno));
    sluice_status status = read_all(out, from, error);
    fclose(from);
    return status;
}

static sluice_status copy_argument(struct input_text *out, const char *text, sluice_error *error)
{
    snprintf(out->origin, sizeof out->origin, "-p");
    out->bytes = strdup(text);
    if (!out->bytes) return set_error(error, SLUICE_MEMORY, "-p: not enough memory for the text");
    out->length = strlen(text);
    return SLUICE_OK;
}

sluice_status input_read(struct input_text *out, const char *text, const char *file, sluice_error *error)
{
    *out = (struct input_text){0};
    if (text && file) return set_error(error, SLUICE_ARGUMENT, "-p and -f exclude each other");
    if (!text && !file && !input_is_piped())
        return set_error(error, SLUICE_ARGUMENT, "no text is given: use -p TEXT, -f FILE or a pipe");
    sluice_status status = text ? copy_argument(out, text, error) : read_file(out, "-f", file, error);
    if (!status) status = input_check_utf8(out->origin, out->bytes, out->length, error);
    if (status) input_free(out);
    return status;
}

sluice_status input_read_file(struct input_text *out, const char *option, const char *file, sluice_error *error)
{
    *out = (struct input_text){0};
    sluice_status status = read_file(out, option, file, error);
    if (!status) status = input_check_utf8(out->origin, out->bytes, out->length, error);
    if (status) input_free(out);
    return status;
}

void input_free(struct input_text *text)
{
    free(text->bytes);
    *text = (struct input_text){0};
}

sluice_status input_parse_ids(struct input_tokens *out, const char *option, const char *list, sluice_error *error)
{
    static const char separators[] = ", \t\n";
    size_t capacity = strlen(list) / 2 + 1;
    *out = (struct input_tokens){0};
    if (capacity > INPUT_MAX_TOKENS)
        return set_error(error, SLUICE_ARGUMENT, "%s: more than %d token ids", option, INPUT_MAX_TOKENS);
    int32_t *ids = malloc(capacity * sizeof *ids);
    if (!ids) return set_error(error, SLUICE_MEMORY, "%s: not enough memory for the token ids", option);
    size_t n = 0;
    for (const char *p = list + strspn(list, separators); *p; p += strspn(p, separators)) {
        size_t length = strcspn(p, separators), digits = strspn(p, "0123456789");
        unsigned long long value = digits == length && length <= 10 ? strtoull(p, NULL, 10) : ULLONG_MAX;
        if (value > INT32_MAX) {
            char shown[64];
            quote_bytes(shown, sizeof shown, p, length);
            free(ids);
            return set_error(error, SLUICE_ARGUMENT, "%s: found %s, expected a token id 0..%d", option, shown,
                             INT32_MAX);
        }
        ids[n++] = (int32_t)value;
        p += length;
    }
    if (n == 0) {
        free(ids);
        return set_error(error, SLUICE_ARGUMENT, "%s: names no token id", option);
    }
    *out = (struct input_tokens){ids, n};
    return SLUICE_OK;
}

sluice_status input_tokenize(struct input_tokens *out, const sluice_engine *engine, const struct input_text *text,
                             unsigned flags, sluice_error *error)
{
    /* A token has at least one byte, apart from the few that the tokenizer adds: one call is nearly always enough. */
    size_t capacity = text->length + 16;
    *out = (struct input_tokens){0};
    for (;;) {
        int32_t *ids = realloc(out->ids, capacity * sizeof *ids);
        if (!ids) {
            input_free_tokens(out);
            return set_error(error, SLUICE_MEMORY, "%s: not enough memory for the tokens", text->origin);
        }
        out->ids = ids;
        sluice_status status =
            sluice_tokenize(engine, text->bytes, text->length, flags, out->ids, capacity, &out->count, error);
        if (status) {
            input_free_tokens(out);
            return status;
        }
        if (out->count <= capacity) return SLUICE_OK;
        capacity = out->count;
    }
}

void input_free_tokens(struct input_tokens *tokens)
{
    free(tokens->ids);
    *tokens = (struct input_tokens){0};
}
