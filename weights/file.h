/* Files of a model as read-only maps: only regular files, only below the model's folder.
 *
 * Owns opening, mapping and the rule about symbolic links; knows nothing about contents. Read next: folder.c. */
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

/* Maps the regular file at `path`; `shown` names it in messages. An empty file gives data == NULL, bytes == 0. */
sluice_status file_map_open(struct file_map *out, const char *path, const char *shown, uint64_t max_bytes,
                            struct failure *f);
void file_map_close(struct file_map *map); /* clears it; an empty map is fine */

/* Where the files of one model may lie. */
struct file_root {
    char folder[PATH_MAX]; /* real path, no '/' at the end; "" for the root directory */
    size_t root_n;         /* files must lie below the first root_n bytes of `folder` */
};
sluice_status file_root_find(struct file_root *root, const char *path, struct failure *f);

/* A hub cache's directory of one model (models--org--name) holds no files itself: refs/main names the revision whose
 * snapshot has them. Gives the snapshot's path in `out`, or `path` itself when it is anything else. */
const char *file_hub_snapshot(char out[PATH_MAX], const char *path);

/* May `name`, read from a file, be used as a name in a folder? One path component of at most 255 bytes. */
bool file_name_is_plain(const char *name, size_t n);

/* Maps the file `name` of the folder. *absent is set, and SLUICE_OK returned with an empty map, when there is no such
 * file, or a symbolic link to nothing. */
sluice_status file_map_in(struct file_map *out, const struct file_root *root, const char *name, uint64_t max_bytes,
                          bool *absent, struct failure *f);

#endif
