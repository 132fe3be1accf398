/* Owns the wording side of errors: formatting, prefixing, escaping, and the public names of the status codes. */
#define FAILURE_IS_DEFINED_HERE
#include "base/failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

sluice_status fail(struct failure *f, sluice_status status, const char *format, ...)
{
    if (!f) return status;
    f->status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
    for (char *p = f->text; *p; p++)
        if (*p == '\n' || *p == '\r') *p = ' ';
    return status;
}

sluice_status fail_memory(struct failure *f, const char *place)
{
    return fail(f, SLUICE_MEMORY, "%s%snot enough memory", place ? place : "", place ? ": " : "");
}

sluice_status fail_in(struct failure *f, const char *prefix)
{
    if (!f) return SLUICE_FORMAT;
    size_t n = strlen(prefix), room = sizeof f->text - 1, old = strlen(f->text);
    if (n > 512) n = 512;
    if (old > room - n - 2) old = room - n - 2;
    memmove(f->text + n + 2, f->text, old);
    memcpy(f->text, prefix, n);
    memcpy(f->text + n, ": ", 2);
    f->text[n + 2 + old] = 0;
    return f->status;
}

char *escape_text(char *out, size_t cap, const char *text, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    size_t shown = n > 64 ? 64 : n, o = 0;
    for (size_t i = 0; i < shown && o + 8 <= cap; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            out[o++] = (char)c;
        } else {
            out[o++] = '\\';
            out[o++] = 'x';
            out[o++] = hex[c >> 4];
            out[o++] = hex[c & 15];
        }
    }
    if (n > shown) {
        memcpy(out + o, "...", 3);
        o += 3;
    }
    out[o] = 0;
    return out;
}
