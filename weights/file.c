/* Owns opening and mapping (see file.h). The order matters: the real path is known to be inside before anything is
 * opened, O_NONBLOCK keeps a FIFO from blocking, and fstat on the open file decides whether it is regular. */
#include "weights/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

char *file_show_path(char out[SHOWN_PATH_BYTES], const char *path)
{
    enum { STEP = 64 }; /* escape_text cuts longer pieces */
    size_t n = strlen(path), o = 0;
    out[0] = 0;
    for (size_t i = 0; i < n && o + ESCAPED_BYTES < SHOWN_PATH_BYTES; i += STEP) {
        escape_text(out + o, SHOWN_PATH_BYTES - o, path + i, n - i < STEP ? n - i : STEP);
        o += strlen(out + o);
    }
    return out;
}

static sluice_status map_descriptor(struct file_map *out, int fd, const char *shown, uint64_t max_bytes,
                                    struct failure *f)
{
    struct stat s;
    if (fstat(fd, &s) != 0) return fail(f, SLUICE_IO, "%s: cannot read: %s", shown, strerror(errno));
    if (!S_ISREG(s.st_mode)) return fail(f, SLUICE_FORMAT, "%s: not a regular file", shown);
    uint64_t bytes = (uint64_t)s.st_size;
    if (bytes > max_bytes || bytes > SIZE_MAX)
        return fail(f, SLUICE_FORMAT, "%s: larger than %llu bytes", shown, (unsigned long long)max_bytes);
    if (bytes == 0) return SLUICE_OK;

    const size_t n = (size_t)bytes; /* bounded: compared with SIZE_MAX */
    void *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return fail(f, errno == ENOMEM ? SLUICE_MEMORY : SLUICE_IO, "%s: cannot map: %s", shown, strerror(errno));
    *out = (struct file_map){p, n};
    return SLUICE_OK;
}

sluice_status file_map_open(struct file_map *out, const char *path, const char *shown, uint64_t max_bytes,
                            struct failure *f)
{
    *out = (struct file_map){0};
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 && errno == ENXIO) return fail(f, SLUICE_FORMAT, "%s: not a regular file", shown); /* a socket */
    if (fd < 0) return fail(f, SLUICE_IO, "%s: cannot open: %s", shown, strerror(errno));
    sluice_status status = map_descriptor(out, fd, shown, max_bytes, f);
    close(fd);
    return status;
}

void file_map_close(struct file_map *map)
{
    if (map->data) munmap((void *)map->data, map->bytes);
    *map = (struct file_map){0};
}

/* A hub cache keeps each model in one directory, and every file of a snapshot is a link to ../../blobs/<hash>:
 *     models--org--name/blobs/<hash>
 *     models--org--name/snapshots/<revision>/config.json -> ../../blobs/<hash>
 * There the whole models--* directory is the root; elsewhere it is the folder itself. */
sluice_status file_root_find(struct file_root *root, const char *path, struct failure *f)
{
    char shown[SHOWN_PATH_BYTES];
    if (!realpath(path, root->folder))
        return fail(f, SLUICE_IO, "%s: cannot open: %s", file_show_path(shown, path), strerror(errno));
    if (strcmp(root->folder, "/") == 0) root->folder[0] = 0;

    root->root_n = strlen(root->folder);
    for (size_t end = root->root_n; end > 0;) { /* from the last component to the first */
        const char *slash = memrchr(root->folder, '/', end);
        if (strncmp(slash + 1, "models--", 8) == 0) {
            root->root_n = end;
            break;
        }
        end = (size_t)(slash - root->folder);
    }
    return SLUICE_OK;
}

bool file_name_is_plain(const char *name, size_t n)
{
    if (n == 0 || n > NAME_MAX || name[0] == '.') return false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c < 0x20 || c == 0x7f || c == '/' || c == '\\' || c == ':') return false;
    }
    return true;
}

const char *file_hub_snapshot(char out[PATH_MAX], const char *path)
{
    enum { MAX_REVISION_BYTES = 128 };
    struct file_map revision;
    struct stat s;
    bool fits = snprintf(out, PATH_MAX, "%s/config.json", path) < PATH_MAX - 256;
    if (!fits || stat(out, &s) == 0) return path;
    snprintf(out, PATH_MAX, "%.3800s/refs/main", path);
    if (file_map_open(&revision, out, "refs/main", MAX_REVISION_BYTES, NULL)) return path;
    const char *name = (const char *)revision.data;
    size_t n = 0;
    while (n < revision.bytes && name[n] > ' ') n++;
    bool found = n > 0 && file_name_is_plain(name, n);
    if (found) snprintf(out, PATH_MAX, "%.3800s/snapshots/%.*s", path, (int)n, name);
    file_map_close(&revision);
    return found ? out : path;
}

sluice_status file_map_in(struct file_map *out, const struct file_root *root, const char *name, uint64_t max_bytes,
                          bool *absent, struct failure *f)
{
    char joined[PATH_MAX + NAME_MAX + 2], real[PATH_MAX], shown[ESCAPED_BYTES];
    *out = (struct file_map){0};
    *absent = false;
    escape_text(shown, sizeof shown, name, strlen(name));
    snprintf(joined, sizeof joined, "%s/%s", root->folder, name);
    if (!realpath(joined, real)) {
        *absent = errno == ENOENT;
        return *absent ? SLUICE_OK : fail(f, SLUICE_IO, "%s: cannot open: %s", shown, strerror(errno));
    }
    if (strncmp(real, root->folder, root->root_n) != 0 || real[root->root_n] != '/')
        return fail(f, SLUICE_FORMAT, "%s: not a regular file", shown);
    return file_map_open(out, real, shown, max_bytes, f);
}
