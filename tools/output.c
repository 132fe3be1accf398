/* Owns standard output, standard error and files of results. */
#define OUTPUT_IS_DEFINED_HERE
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
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

/* ---- files ----------------------------------------------------------------------------------------------------- */

static sluice_status file_failed(const char *path, sluice_error *error)
{
    char shown[256];
    int number = errno;
    return set_error(error, SLUICE_IO, "%s: %s", quote_bytes(shown, sizeof shown, path, strlen(path)),
                     strerror(number));
}

sluice_status output_file_create(struct output_file *out, const char *path, sluice_error *error)
{
    struct stat info;
    *out = (struct output_file){.fd = -1};
    errno = ENOENT; /* what the system says of an empty name: it is the end of the growing one that would do */
    if (!*path) return file_failed(path, error);
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        char shown[256];
        return set_error(error, SLUICE_IO, "%s: exists and is not a regular file",
                         quote_bytes(shown, sizeof shown, path, strlen(path)));
    }
    size_t cap = strlen(path) + 32;
    out->path = strdup(path);
    out->growing = malloc(cap);
    if (!out->path || !out->growing) {
        output_file_discard(out);
        return set_error(error, SLUICE_MEMORY, "not enough memory for a file name");
    }
    snprintf(out->growing, cap, "%s.%ld.part", path, (long)getpid());
    do out->fd = open(out->growing, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    while (out->fd < 0 && errno == EINTR);
    if (out->fd >= 0) return SLUICE_OK;
    file_failed(path, error);
    output_file_discard(out); /* whatever has this name is not ours to remove, nor is it */
    return SLUICE_IO;
}

sluice_status output_file_write_at(struct output_file *file, const void *data, size_t n, uint64_t offset,
                                   sluice_error *error)
{
    const char *bytes = data;
    while (n > 0) {
        ssize_t written = pwrite(file->fd, bytes, n, (off_t)offset);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) {
            if (written == 0) errno = ENOSPC;
            return file_failed(file->path, error);
        }
        bytes += written;
        n -= (size_t)written;
        offset += (uint64_t)written;
    }
    return SLUICE_OK;
}

sluice_status output_file_append(struct output_file *file, const void *bytes, size_t n, sluice_error *error)
{
    sluice_status status = output_file_write_at(file, bytes, n, file->n_bytes, error);
    file->n_bytes += n;
    return status;
}

sluice_status output_file_commit(struct output_file *file, sluice_error *error)
{
    sluice_status status = SLUICE_OK;
    int closed = close(file->fd); /* some file systems report a full disk only here */
    file->fd = -1;
    if (closed != 0 || rename(file->growing, file->path) != 0) {
        status = file_failed(file->path, error);
        unlink(file->growing);
    }
    output_file_discard(file);
    return status;
}

void output_file_discard(struct output_file *file)
{
    if (file->growing && file->fd >= 0) {
        close(file->fd);
        unlink(file->growing);
    }
    free(file->path);
    free(file->growing);
    *file = (struct output_file){.fd = -1};
}

/* ---- readable numbers and bytes -------------------------------------------------------------------------------- */

/* Control characters, and what turns the direction of a line or has no width: a name must not look like another. */
static bool is_hidden(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
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
    } else if (length == 0 || is_hidden(code_point)) {
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
