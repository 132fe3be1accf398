/* Owns what the program says: results on standard output and in files with every write checked, one line per error and
 * warning on standard error, and numbers and bytes made readable. */
#ifndef TOOLS_OUTPUT_H
#define TOOLS_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sluice/sluice.h"

/* Writes the sentence and returns the status, so that failing is one line. */
sluice_status set_error(sluice_error *error, sluice_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "error: ..." or "warning: ..." on standard error, always one line; an empty text prints nothing. */
void report_error(const char *text);
void report_warning(const char *text);
/* "note: ..." */
void report_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Standard output. Every failure is SLUICE_IO with the reason of the system. */
sluice_status output_write(const void *bytes, size_t n, sluice_error *error);
sluice_status output_flush(sluice_error *error);
/* Ends a text: on a terminal the cursor goes to a new line, a file or pipe gets the text and nothing else. */
sluice_status output_end_text(bool at_line_start, sluice_error *error);

/* A file on its way: it grows beside its place under another name and gets there in one step when it is complete, so a
 * file of that name is always whole. All zero: none. Failures are SLUICE_IO with the name and the system's reason. */
struct output_file {
    int fd;
    uint64_t n_bytes;     /* written by output_file_append */
    char *path, *growing; /* name at the end, and until then; NULL: no file */
};
/* SLUICE_IO also where the name belongs to something that is no regular file. After a failure there is no file. */
sluice_status output_file_create(struct output_file *out, const char *path, sluice_error *error);
sluice_status output_file_write_at(struct output_file *file, const void *bytes, size_t n, uint64_t offset,
                                   sluice_error *error);
/* The same behind what was appended before. Every call asks the system: callers gather lines. */
sluice_status output_file_append(struct output_file *file, const void *bytes, size_t n, sluice_error *error);
/* Gives the file its name; after a failure nothing is left. */
sluice_status output_file_commit(struct output_file *file, sluice_error *error);
/* Removes what has been written; does nothing for a file that is committed or none. */
void output_file_discard(struct output_file *file);

/* The bytes in double quotes, with escapes for quotes, control characters, what turns or hides text, and whatever is
 * not UTF-8; cut with "..." where `cap` (at least 16) ends. Returns out. */
char *quote_bytes(char *out, size_t cap, const char *bytes, size_t n);

struct human {
    char text[32];
};
struct human human_bytes(double bytes); /* "16.4 MB", decimal units */
struct human human_count(double count); /* "30.5 billion" */

/* As in base/failure.h: clang's analyzer would believe that what set_error returns may be SLUICE_OK. */
#if defined __clang_analyzer__ && !defined OUTPUT_IS_DEFINED_HERE
#define set_error(error, status, ...) ((set_error)(error, status, __VA_ARGS__), (status))
#endif

#endif
