/* Files of a model, mapped or read into memory: only regular files, only below the model's folder.
 *
 * Owns opening, mapping, reading and the rule about symbolic links; knows nothing about contents. A file that changes
 * meanwhile must harm nobody: what is lost of a map becomes zeros (base/lost_pages.h), what cannot be read stays zeros,
 * parsers go on, and file_map_check tells afterwards. Read next: folder.c. */
#ifndef WEIGHTS_FILE_H
#define WEIGHTS_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/failure.h"
#include "base/memory.h"

enum { SHOWN_PATH_BYTES = 2048 };

/* A path the user gave, for a message: escaped, never cut in the middle of what a person needs to see. */
char *file_show_path(char out[SHOWN_PATH_BYTES], const char *path);

enum file_access {
    FILE_MAPPED,
    FILE_READ, /* memory in the place of a map: as long as the file, filled from its beginning as file_map_need asks */
};
enum { FILE_HEAD_BYTES = 1 << 20 }; /* of FILE_READ, what is there without asking, and what is read at least */

/* Opens the regular file at `path`; `shown` names it in messages. An empty file gives data == NULL, bytes == 0. */
sluice_status file_map_open(struct file_map *out, const char *path, const char *shown, uint64_t max_bytes,
                            enum file_access access, struct failure *f);
void file_map_close(struct file_map *map); /* clears it; an empty map is fine */

/* The first n bytes (n <= map->bytes) will be looked at now. One thread at a time. */
void file_map_need(const struct file_map *map, size_t n);
bool file_map_is_read(const struct file_map *map);   /* FILE_READ: its pages are gone for good when they are released */
size_t file_map_missing(const struct file_map *map); /* bytes that nobody has needed yet; 0: mapped */

/* SLUICE_IO when a part of the file could not be read, or when a mapped file has become shorter than it was. What was
 * made of its bytes then means nothing. */
sluice_status file_map_check(const struct file_map *map, const char *shown, struct failure *f);

/* Where the files of one model may lie. */
struct file_root {
    char folder[PATH_MAX]; /* real path, no '/' at the end; "" for the root directory */
    size_t root_n;         /* files must lie below the first root_n bytes of `folder` */
    enum file_access access;
};
sluice_status file_root_find(struct file_root *root, const char *path, enum file_access access, struct failure *f);

/* A hub cache's directory of one model (models--org--name) holds no files itself: refs/main names the revision whose
 * snapshot has them. Gives the snapshot's path in `out`, or `path` itself when it is anything else. */
const char *file_hub_snapshot(char out[PATH_MAX], const char *path);

/* May `name`, read from a file, be used as a name in a folder? One path component of at most 255 bytes. */
bool file_name_is_plain(const char *name, size_t n);

/* Opens the file `name` of the folder. *absent is set, and SLUICE_OK returned with an empty map, when there is no such
 * file, or a symbolic link to nothing. */
sluice_status file_map_in(struct file_map *out, const struct file_root *root, const char *name, uint64_t max_bytes,
                          bool *absent, struct failure *f);

#endif
