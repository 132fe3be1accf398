/* Owns the folder of memory_files.h and stands in for the functions that reach files. */
#include "memory_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "weights/file.h"

struct memory_file {
    char name[256];
    const unsigned char *data;
    size_t n;
    uint64_t filling;
    unsigned char *made; /* what `data` points to, if it was put together here */
};

static struct memory_file files[MEMORY_MAX_FILES];
static size_t n_files;

/* Files with filling behind them lie at the beginning of a slot, which is nothing but filling otherwise. */
enum { N_SLOTS = 4, FILLING = 0x3f };
static const size_t slot_bytes = (size_t)MEMORY_MAX_FILLING + (1 << 20);
static unsigned char *slots;
static size_t slot_used[N_SLOTS]; /* bytes that were copied into it; 0: free */
static bool slot_filled[N_SLOTS];

/* The one file that is being written. */
static struct {
    char name[256];
    unsigned char *data;
    size_t n;
    bool open, committed;
} written;
enum { WRITTEN_DESCRIPTOR = 1 << 20 }; /* no real one is as high */

void memory_files_clear(void)
{
    for (size_t i = 0; i < n_files; i++) free(files[i].made);
    n_files = 0;
    free(written.data);
    memset(&written, 0, sizeof written);
}

static struct memory_file *find(const char *name)
{
    for (size_t i = 0; i < n_files; i++)
        if (strcmp(files[i].name, name) == 0) return &files[i];
    return NULL;
}

/* The name within the folder, "" for the folder itself; NULL for other paths. */
static const char *inside(const char *path)
{
    const size_t n = sizeof MEMORY_FOLDER - 1;
    if (strncmp(path, MEMORY_FOLDER, n) != 0 || (path[n] && path[n] != '/')) return NULL;
    path += n;
    while (*path == '/') path++;
    return path;
}

void memory_files_add(const char *name, size_t name_n, const void *data, size_t n, uint64_t filling)
{
    struct memory_file *file = &files[n_files];
    if (n_files == MEMORY_MAX_FILES || name_n >= sizeof file->name || !file_name_is_plain(name, name_n)) return;
    *file = (struct memory_file){.data = data, .n = n};
    file->filling = filling < MEMORY_MAX_FILLING ? filling : MEMORY_MAX_FILLING;
    memcpy(file->name, name, name_n);
    if (!find(file->name)) n_files++;
}

const unsigned char *memory_files_written(const char *name, size_t *n)
{
    bool is = written.committed && strcmp(written.name, name) == 0;
    *n = is ? written.n : 0;
    return is ? written.data : NULL;
}

/* ---- texts that stand for a folder ------------------------------------------------------------------------------- */

/* The beginning of the next line "--- NAME", or the end. */
static const char *next_mark(const char *at, const char *end)
{
    while ((at = memmem(at, (size_t)(end - at), "\n--- ", 5))) {
        if (memchr(at + 5, '\n', (size_t)(end - at - 5))) return at + 1;
        at += 5;
    }
    return end;
}

uint64_t memory_files_data_bytes(const char *header, size_t n)
{
    static const char key[] = "\"data_offsets\"";
    const char *end = header + n;
    uint64_t most = 0;
    while ((header = memmem(header, (size_t)(end - header), key, sizeof key - 1))) {
        uint64_t number = 0;
        for (header += sizeof key - 1; header < end && *header != ']'; header++) {
            bool digit = *header >= '0' && *header <= '9';
            number = digit && number < MEMORY_MAX_FILLING ? number * 10 + (uint64_t)(*header - '0') : 0;
            if (number > most) most = number;
        }
    }
    return most;
}

/* The header as a file: its length goes before it. */
static void add_safetensors(const char *name, size_t name_n, const char *header, size_t n)
{
    unsigned char *made = fuzz_need(malloc(n + 8));
    for (int i = 0; i < 8; i++) made[i] = (unsigned char)((uint64_t)n >> (8 * i));
    memcpy(made + 8, header, n);
    size_t before = n_files;
    memory_files_add(name, name_n, made, n + 8, memory_files_data_bytes(header, n));
    if (n_files > before)
        files[before].made = made;
    else
        free(made);
}

void memory_files_unpack(const uint8_t *data, size_t n, const char **text, size_t *text_n)
{
    static const char suffix[] = ".safetensors";
    const char *at = (const char *)data, *end = at + n;
    memory_files_clear();
    *text = NULL;
    *text_n = 0;
    if (n < 5) return;
    if (memcmp(at, "--- ", 4) != 0) at = next_mark(at, end);
    while (at < end) {
        const char *name = at + 4, *line = memchr(name, '\n', (size_t)(end - name));
        if (!line) return;
        size_t name_n = (size_t)(line - name);
        const char *body = line + 1, *next = next_mark(line, end);
        size_t body_n = (size_t)(next - body);
        if (next < end && body_n > 0) body_n--; /* the newline before the mark; without a body it is the name's */
        if (name_n == 4 && memcmp(name, "text", 4) == 0) {
            *text = body;
            *text_n = body_n;
        } else if (name_n >= sizeof suffix && memcmp(line - sizeof suffix + 1, suffix, sizeof suffix - 1) == 0) {
            add_safetensors(name, name_n, body, body_n);
        } else {
            memory_files_add(name, name_n, body, body_n, 0);
        }
        at = next;
    }
}

/* ---- in place of weights/file.c ---------------------------------------------------------------------------------- */

sluice_status __wrap_file_map_open(struct file_map *out, const char *path, const char *shown, uint64_t max_bytes,
                                   enum file_access access, struct failure *f);
sluice_status __wrap_file_map_in(struct file_map *out, const struct file_root *root, const char *name,
                                 uint64_t max_bytes, bool *absent, struct failure *f);
sluice_status __wrap_file_root_find(struct file_root *root, const char *path, enum file_access access,
                                    struct failure *f);
void __wrap_file_map_close(struct file_map *map);
sluice_status __real_file_map_open(struct file_map *out, const char *path, const char *shown, uint64_t max_bytes,
                                   enum file_access access, struct failure *f);
sluice_status __real_file_root_find(struct file_root *root, const char *path, enum file_access access,
                                    struct failure *f);

static unsigned char *take_slot(const struct memory_file *file)
{
    if (!slots) {
        void *p = mmap(NULL, slot_bytes * N_SLOTS, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        slots = fuzz_need(p == MAP_FAILED ? NULL : p);
    }
    for (int i = 0; i < N_SLOTS; i++)
        if (!slot_used[i]) {
            if (!slot_filled[i]) memset(slots + slot_bytes * (size_t)i, FILLING, slot_bytes);
            slot_filled[i] = true;
            slot_used[i] = file->n ? file->n : 1;
            if (file->n) memcpy(slots + slot_bytes * (size_t)i, file->data, file->n);
            return slots + slot_bytes * (size_t)i;
        }
    return NULL;
}

static sluice_status map_file(struct file_map *out, const struct memory_file *file, const char *shown,
                              uint64_t max_bytes, struct failure *f)
{
    uint64_t bytes = file->n + file->filling;
    *out = (struct file_map){0};
    if (bytes > max_bytes)
        return fail(f, SLUICE_FORMAT, "%s: larger than %llu bytes", shown, (unsigned long long)max_bytes);
    if (bytes == 0) return SLUICE_OK;
    unsigned char *slot = file->filling && file->n <= 1 << 20 ? take_slot(file) : NULL;
    if (slot) {
        *out = (struct file_map){.data = slot, .bytes = (size_t)bytes};
        return SLUICE_OK;
    }
    void *copy = fuzz_need(malloc(file->n ? file->n : 1));
    memcpy(copy, file->data, file->n);
    *out = (struct file_map){.data = copy, .bytes = file->n};
    return SLUICE_OK;
}

sluice_status __wrap_file_map_open(struct file_map *out, const char *path, const char *shown, uint64_t max_bytes,
                                   enum file_access access, struct failure *f)
{
    const char *name = inside(path);
    if (!name) return __real_file_map_open(out, path, shown, max_bytes, access, f);
    const struct memory_file *file = find(name);
    *out = (struct file_map){0};
    if (!file) return fail(f, SLUICE_IO, "%s: cannot open: %s", shown, strerror(ENOENT));
    return map_file(out, file, shown, max_bytes, f);
}

sluice_status __wrap_file_map_in(struct file_map *out, const struct file_root *root, const char *name,
                                 uint64_t max_bytes, bool *absent, struct failure *f)
{
    char shown[ESCAPED_BYTES];
    const struct memory_file *file = find(name);
    (void)root;
    *out = (struct file_map){0};
    *absent = !file;
    escape_text(shown, sizeof shown, name, strlen(name));
    return file ? map_file(out, file, shown, max_bytes, f) : SLUICE_OK;
}

sluice_status __wrap_file_root_find(struct file_root *root, const char *path, enum file_access access,
                                    struct failure *f)
{
    if (!inside(path)) return __real_file_root_find(root, path, access, f);
    snprintf(root->folder, sizeof root->folder, "%s", MEMORY_FOLDER);
    root->root_n = strlen(root->folder);
    root->access = access; /* makes no difference here */
    return SLUICE_OK;
}

void __wrap_file_map_close(struct file_map *map)
{
    for (size_t i = 0; slots && i < N_SLOTS; i++) {
        unsigned char *slot = slots + slot_bytes * i;
        if (map->data != slot) continue;
        memset(slot, FILLING, slot_used[i]);
        slot_used[i] = 0;
        *map = (struct file_map){0};
        return;
    }
    free((void *)map->data);
    *map = (struct file_map){0};
}

/* ---- in place of the C library ----------------------------------------------------------------------------------- */

int __wrap_stat(const char *path, struct stat *s);
int __wrap_lstat(const char *path, struct stat *s);
int __wrap_open(const char *path, int flags, ...);
int __wrap_close(int descriptor);
int __wrap_fallocate(int descriptor, int mode, off_t at, off_t n);
ssize_t __wrap_pwrite(int descriptor, const void *data, size_t n, off_t at);
int __wrap_fsync(int descriptor);
int __wrap_unlink(const char *path);
int __wrap_renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags);
int __real_stat(const char *path, struct stat *s);
int __real_lstat(const char *path, struct stat *s);
int __real_open(const char *path, int flags, ...);
int __real_close(int descriptor);
int __real_fallocate(int descriptor, int mode, off_t at, off_t n);
ssize_t __real_pwrite(int descriptor, const void *data, size_t n, off_t at);
int __real_fsync(int descriptor);
int __real_unlink(const char *path);
int __real_renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags);

static int look(const char *name, struct stat *s)
{
    const struct memory_file *file = find(name);
    memset(s, 0, sizeof *s);
    s->st_mode = name[0] ? S_IFREG | 0644 : S_IFDIR | 0755;
    s->st_size = file ? (off_t)(file->n + file->filling) : 0;
    if (!name[0] || file) return 0;
    errno = ENOENT;
    return -1;
}

int __wrap_stat(const char *path, struct stat *s)
{
    const char *name = inside(path);
    return name ? look(name, s) : __real_stat(path, s);
}

int __wrap_lstat(const char *path, struct stat *s)
{
    const char *name = inside(path);
    return name ? look(name, s) : __real_lstat(path, s);
}

/* For writing only: what is read is mapped. */
int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int mode = flags & O_CREAT ? va_arg(args, int) : 0;
    va_end(args);
    const char *name = inside(path);
    if (!name) return __real_open(path, flags, mode);
    if (!(flags & O_CREAT) || written.open) {
        errno = ENOENT;
        return -1;
    }
    free(written.data);
    memset(&written, 0, sizeof written);
    snprintf(written.name, sizeof written.name, "%s", name);
    written.open = true;
    return WRITTEN_DESCRIPTOR;
}

int __wrap_close(int descriptor)
{
    if (descriptor != WRITTEN_DESCRIPTOR) return __real_close(descriptor);
    written.open = false;
    return 0;
}

int __wrap_fallocate(int descriptor, int mode, off_t at, off_t n)
{
    if (descriptor != WRITTEN_DESCRIPTOR) return __real_fallocate(descriptor, mode, at, n);
    if (n > MEMORY_MAX_FILLING) {
        errno = ENOSPC;
        return -1;
    }
    written.data = fuzz_need(calloc((size_t)n, 1));
    written.n = (size_t)n;
    return 0;
}

ssize_t __wrap_pwrite(int descriptor, const void *data, size_t n, off_t at)
{
    if (descriptor != WRITTEN_DESCRIPTOR) return __real_pwrite(descriptor, data, n, at);
    if (!written.data || (uint64_t)at > written.n || n > written.n - (size_t)at)
        fuzz_broken("%zu bytes written at %lld of a file of %zu", n, (long long)at, written.n);
    memcpy(written.data + at, data, n);
    return (ssize_t)n;
}

int __wrap_fsync(int descriptor) { return descriptor == WRITTEN_DESCRIPTOR ? 0 : __real_fsync(descriptor); }

int __wrap_unlink(const char *path)
{
    if (!inside(path)) return __real_unlink(path);
    free(written.data);
    memset(&written, 0, sizeof written);
    return 0;
}

int __wrap_renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    const char *name = inside(to);
    if (!name) return __real_renameat2(from_folder, from, to_folder, to, flags);
    snprintf(written.name, sizeof written.name, "%s", name);
    written.committed = true;
    return 0;
}
