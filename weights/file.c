/* Owns opening, mapping and reading (see file.h). The order matters: the real path is known to be inside before
 * anything is opened, O_NONBLOCK keeps a FIFO from blocking, and fstat on the open file decides whether it is
 * regular. */
#include "weights/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/lost_pages.h"

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

/* Where the bytes of a view come from. */
struct file_origin {
    struct listed_map *listed; /* NULL: read into memory */
    size_t loaded;             /* of that: bytes from the beginning that are there */
    int error;                 /* of that: what reading failed with; 0: nothing */
    dev_t device;
    ino_t inode;
    char path[];
};
enum { ENDED = -1 }; /* the error of a file that ends before its end */

static int open_again(const char *path)
{
    int fd;
    do fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    while (fd < 0 && errno == EINTR);
    return fd;
}

static bool is_same_file(const struct file_origin *o, const struct stat *s)
{
    return s->st_dev == o->device && s->st_ino == o->inode;
}

/* ---- reading into memory ----------------------------------------------------------------------------------------- */

static void read_until(struct file_origin *o, unsigned char *data, size_t end, int fd)
{
    while (o->loaded < end && !o->error) {
        ssize_t n = pread(fd, data + o->loaded, end - o->loaded, (off_t)o->loaded);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            o->error = n < 0 ? errno : ENDED;
        else
            o->loaded += (size_t)n;
    }
}

/* Files are opened once more to be read on: a model may have more of them than a process may keep open. */
void file_map_need(const struct file_map *map, size_t n)
{
    struct file_origin *o = map->origin;
    if (!o || o->listed || n <= o->loaded || o->error) return;
    size_t end = n < FILE_HEAD_BYTES ? FILE_HEAD_BYTES : n;
    if (end - o->loaded < FILE_HEAD_BYTES) end = o->loaded + FILE_HEAD_BYTES;
    if (end > map->bytes) end = map->bytes;

    struct stat s;
    int fd = open_again(o->path);
    if (fd < 0 || fstat(fd, &s) != 0)
        o->error = errno;
    else if (!is_same_file(o, &s))
        o->error = ESTALE;
    else
        read_until(o, (unsigned char *)map->data, end, fd);
    if (fd >= 0) close(fd);
}

bool file_map_is_read(const struct file_map *map) { return map->origin && !map->origin->listed; }

size_t file_map_missing(const struct file_map *map)
{
    return file_map_is_read(map) ? map->bytes - map->origin->loaded : 0;
}

static sluice_status read_descriptor(struct file_map *out, struct file_origin *o, int fd, size_t bytes,
                                     const char *shown, struct failure *f)
{
    unsigned char *p = memory_map_pages(bytes, false);
    if (!p) return fail(f, SLUICE_MEMORY, "%s: no memory for %zu bytes", shown, bytes);
    *out = (struct file_map){.data = p, .bytes = bytes, .origin = o};
    read_until(o, p, bytes < FILE_HEAD_BYTES ? bytes : FILE_HEAD_BYTES, fd);
    return SLUICE_OK;
}

/* ---- mapping ----------------------------------------------------------------------------------------------------- */

static sluice_status map_descriptor(struct file_map *out, struct file_origin *o, int fd, size_t bytes,
                                    const char *shown, struct failure *f)
{
    void *p = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return fail(f, errno == ENOMEM ? SLUICE_MEMORY : SLUICE_IO, "%s: cannot map: %s", shown, strerror(errno));
    o->listed = lost_pages_watch(p, bytes);
    if (!o->listed) {
        munmap(p, bytes);
        return fail(f, SLUICE_MEMORY, "%s: cannot map: %d files are mapped already", shown, LOST_PAGES_MAPS);
    }
    *out = (struct file_map){.data = p, .bytes = bytes, .origin = o};
    return SLUICE_OK;
}

/* ---- both -------------------------------------------------------------------------------------------------------- */

static sluice_status view_descriptor(struct file_map *out, int fd, const char *path, const char *shown,
                                     uint64_t max_bytes, enum file_access access, struct failure *f)
{
    struct stat s;
    if (fstat(fd, &s) != 0) return fail(f, SLUICE_IO, "%s: cannot read: %s", shown, strerror(errno));
    if (!S_ISREG(s.st_mode)) return fail(f, SLUICE_FORMAT, "%s: not a regular file", shown);
    uint64_t bytes = (uint64_t)s.st_size;
    if (bytes > max_bytes || bytes > SIZE_MAX)
        return fail(f, SLUICE_FORMAT, "%s: larger than %llu bytes", shown, (unsigned long long)max_bytes);
    if (bytes == 0) return SLUICE_OK;

    const size_t path_n = strlen(path) + 1;
    struct file_origin *o = memory_alloc(sizeof *o + path_n);
    if (!o) return fail_memory(f, shown);
    *o = (struct file_origin){.device = s.st_dev, .inode = s.st_ino};
    memcpy(o->path, path, path_n);
    const size_t n = (size_t)bytes; /* bounded: compared with SIZE_MAX */
    sluice_status status =
        access == FILE_READ ? read_descriptor(out, o, fd, n, shown, f) : map_descriptor(out, o, fd, n, shown, f);
    if (status) memory_free(o);
    return status;
}

sluice_status file_map_open(struct file_map *out, const char *path, const char *shown, uint64_t max_bytes,
                            enum file_access access, struct failure *f)
{
    *out = (struct file_map){0};
    int fd = open_again(path);
    if (fd < 0 && errno == ENXIO) return fail(f, SLUICE_FORMAT, "%s: not a regular file", shown); /* a socket */
    if (fd < 0) return fail(f, SLUICE_IO, "%s: cannot open: %s", shown, strerror(errno));
    sluice_status status = view_descriptor(out, fd, path, shown, max_bytes, access, f);
    close(fd);
    return status;
}

void file_map_close(struct file_map *map)
{
    if (map->data && file_map_is_read(map)) {
        memory_unmap_pages((void *)map->data, map->bytes);
    } else if (map->data) {
        if (map->origin) lost_pages_forget(map->origin->listed);
        munmap((void *)map->data, map->bytes);
    }
    memory_free(map->origin);
    *map = (struct file_map){0};
}

/* The size is asked too, because what is missing of a file's last page reads as zeros without any signal. A file that
 * was replaced by another one of that name is still there for who has it mapped. */
sluice_status file_map_check(const struct file_map *map, const char *shown, struct failure *f)
{
    const struct file_origin *o = map->origin;
    struct stat s;
    if (!o || (!o->listed && !o->error)) return SLUICE_OK;
    if (o->error > 0) return fail(f, SLUICE_IO, "%s: cannot read: %s", shown, strerror(o->error));
    if (stat(o->path, &s) == 0 && is_same_file(o, &s) && (uint64_t)s.st_size < map->bytes)
        return fail(f, SLUICE_IO, "%s: became shorter while it was in use: %llu bytes, expected %zu", shown,
                    (unsigned long long)s.st_size, map->bytes);
    if (!o->error && !lost_pages_torn(o->listed)) return SLUICE_OK;
    return fail(f, SLUICE_IO, "%s: a part of it could not be read while it was in use", shown);
}

/* ---- where files may lie ----------------------------------------------------------------------------------------- */

/* A hub cache keeps each model in one directory, and every file of a snapshot is a link to ../../blobs/<hash>:
 *     models--org--name/blobs/<hash>
 *     models--org--name/snapshots/<revision>/config.json -> ../../blobs/<hash>
 * There the whole models--* directory is the root; elsewhere it is the folder itself. */
sluice_status file_root_find(struct file_root *root, const char *path, enum file_access access, struct failure *f)
{
    char shown[SHOWN_PATH_BYTES];
    root->access = access;
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
    struct file_root root;
    struct file_map revision;
    struct stat s;
    bool absent, fits = snprintf(out, PATH_MAX, "%s/config.json", path) < PATH_MAX - 256;
    if (!fits || stat(out, &s) == 0 || file_root_find(&root, path, FILE_READ, NULL)) return path;
    if (file_map_in(&revision, &root, "refs/main", MAX_REVISION_BYTES, &absent, NULL) || absent) return path;
    const char *name = (const char *)revision.data;
    size_t n = 0;
    while (n < revision.bytes && name[n] > ' ') n++;
    char joined[PATH_MAX + 160], snapshots[PATH_MAX + 16];
    const int snapshots_n = snprintf(snapshots, sizeof snapshots, "%s/snapshots/", root.folder);
    snprintf(joined, sizeof joined, "%s%.*s", snapshots, (int)n, name); /* bounded: at most MAX_REVISION_BYTES */
    const bool named = n > 0 && file_name_is_plain(name, n);
    file_map_close(&revision);
    if (!named) return path;
    if (!realpath(joined, out)) { /* not there: opening it says so */
        snprintf(out, PATH_MAX, "%.*s", PATH_MAX - 1, joined);
        return out;
    }
    return strncmp(out, snapshots, (size_t)snapshots_n) == 0 ? out : path; /* it may be a link, but to nowhere else */
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
        return fail(f, SLUICE_FORMAT, "%s: is a link that leads out of the model's folder", shown);
    return file_map_open(out, real, shown, max_bytes, root->access, f);
}
