/* Owns standard output and standard error of the program. */
#define OUTPUT_IS_DEFINED_HERE
#include "output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "progress.h"
#include "utf8.h"

sluice_status set_error(sluice_error *error, sluice_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    error->status = status;
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return status;
}

static void report_line(const char *kind, const char *text)
{
    if (!*text) return;
    progress_clear();
    fprintf(stderr, "%s: ", kind);
    for (; *text; text++) fputc((unsigned char)*text < 0x20 || *text == 0x7f ? ' ' : *text, stderr);
    fputc('\n', stderr);
}

void report_error(const char *text) { report_line("error", text); }

void report_warning(const char *text) { report_line("warning", text); }

void report_note(const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    report_line("note", text);
}

static sluice_status output_failed(sluice_error *error)
{
    return set_error(error, SLUICE_IO, "standard output: %s", errno ? strerror(errno) : "cannot be written");
}

sluice_status output_write(const void *bytes, size_t n, sluice_error *error)
{
    errno = 0;
    return fwrite(bytes, 1, n, stdout) == n ? SLUICE_OK : output_failed(error);
}

sluice_status output_flush(sluice_error *error)
{
    errno = 0;
    return fflush(stdout) == 0 && !ferror(stdout) ? SLUICE_OK : output_failed(error);
}

/* Both streams go to one file or pipe. */
static bool streams_are_one(void)
{
    struct stat out, err;
    return fstat(STDOUT_FILENO, &out) == 0 && fstat(STDERR_FILENO, &err) == 0 && out.st_dev == err.st_dev &&
           out.st_ino == err.st_ino;
}

/* A terminal, or a log of both streams, shows the figures on a line of their own; a file of text gets the text
 * alone. */
sluice_status output_end_text(bool at_line_start, sluice_error *error)
{
    if (!at_line_start && (isatty(STDOUT_FILENO) || streams_are_one())) {
        sluice_status status = output_write("\n", 1, error);
        if (status) return status;
    }
    return output_flush(error);
}

/* The escape of one character that must not be shown as it is, or its own bytes. Returns how many bytes were used. */
static size_t quote_character(char piece[8], const char *bytes, size_t n)
{
    static const char plain[] = "\"\\\n\t\r", letters[] = "\"\\ntr";
    const char *known = bytes[0] ? strchr(plain, bytes[0]) : NULL;
    uint32_t code_point;
    size_t length = utf8_sequence(bytes, n, &code_point);
    if (known) {
        snprintf(piece, 8, "\\%c", letters[known - plain]);
    } else if (length == 0 || code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0)) {
        length = 1;
        snprintf(piece, 8, "\\x%02x", (unsigned char)bytes[0]);
    } else {
        memcpy(piece, bytes, length);
        piece[length] = 0;
    }
    return length;
}

char *quote_bytes(char *out, size_t cap, const char *bytes, size_t n)
{
    size_t o = 0, at = 0;
    out[o++] = '"';
    while (at < n) {
        char piece[8];
        size_t used = quote_character(piece, bytes + at, n - at), length = strlen(piece);
        if (o + length + 5 > cap) break; /* keeps room for the quote, three dots and the NUL */
        memcpy(out + o, piece, length);
        o += length;
        at += used;
    }
    snprintf(out + o, cap - o, at < n ? "\"..." : "\"");
    return out;
}

static struct human human_number(double value, const char *const units[5])
{
    struct human h;
    size_t unit = 0;
    while (value >= 999.5 && unit < 4) {
        value /= 1000;
        unit++;
    }
    snprintf(h.text, sizeof h.text, unit == 0 ? "%.0f%s" : "%.3g%s", value, units[unit]);
    return h;
}

struct human human_bytes(double bytes)
{
    static const char *const units[5] = {" B", " kB", " MB", " GB", " TB"};
    return human_number(bytes, units);
}

struct human human_count(double count)
{
    static const char *const units[5] = {"", " thousand", " million", " billion", " trillion"};
    return human_number(count, units);
}
