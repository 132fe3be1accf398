/* Owns the writing of a GGUF file (see gguf_write.h; gguf.c draws the format).
 *
 *     PATH.part   created, and only if nobody else has      gguf_writer_create
 *        |        header written, full length reserved      gguf_begin_data       (padding: zeros of the file system)
 *        |        bytes of tensors, any order, any thread   gguf_write_data
 *        |        flushed                                   gguf_writer_commit
 *     PATH        renamed, and only if there is none
 *
 * Values are encoded when they are put; the header is put together when the data begin. Whatever this file would write
 * that gguf.c refuses to read is refused here, with the same limits. Read next: gguf.c. */
#include "weights/gguf_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "weights/archive_parts.h"

enum {
    VERSION = 3,
    ALIGNMENT = GGUF_DEFAULT_ALIGNMENT,
    ARRAY_HEAD_BYTES = 4 + 8,
    MAX_NAME_BYTES = GGUF_MAX_TENSOR_NAME_BYTES - 1, /* other programs keep a NUL in the 64 bytes */
};

struct pair {
    char *key;
    enum gguf_type type;
    unsigned char *encoded; /* [n] */
    size_t n;
};

struct out_tensor {
    char *name;
    enum dtype type;
    int n_dims;
    uint64_t shape[GGUF_MAX_DIMS]; /* outermost first */
    uint64_t bytes, offset;        /* offset: from the beginning of the data section */
    atomic_uint_fast64_t written;
};

struct gguf_writer {
    char *path, *part;
    char shown[SHOWN_PATH_BYTES]; /* path, for messages */
    int fd;
    struct failure first; /* the first failure of put_ and add_tensor */
    struct pair *pairs;   /* [n_pairs] */
    size_t n_pairs, pairs_capacity;
    struct out_tensor *tensors; /* [n_tensors] */
    size_t n_tensors, tensors_capacity;
    bool begun, committed;
    uint64_t data_start, file_bytes;
};

/* ---- failures ---------------------------------------------------------------------------------------------------- */

/* "PATH: KIND "NAME": REASON", unless there is a failure already. */
__attribute__((format(printf, 5, 6))) static void refuse(struct gguf_writer *w, sluice_status status, const char *kind,
                                                         const char *name, const char *format, ...)
{
    char shown[ESCAPED_BYTES], reason[512];
    if (w->first.status) return;
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    escape_text(shown, sizeof shown, name, strlen(name));
    fail(&w->first, status, "%s: %s \"%s\": %s", w->shown, kind, shown, reason);
}

static void refuse_memory(struct gguf_writer *w)
{
    if (!w->first.status) fail_memory(&w->first, w->shown);
}

static sluice_status fail_first(const struct gguf_writer *w, struct failure *f)
{
    return fail(f, w->first.status, "%s", w->first.text);
}

/* May something be added to the header? */
static bool may_add(struct gguf_writer *w, const char *kind, const char *name)
{
    if (w->begun) refuse(w, SLUICE_ARGUMENT, kind, name, "comes after the data have begun");
    return !w->first.status;
}

/* ---- numbers ----------------------------------------------------------------------------------------------------- */

static unsigned char *store(unsigned char *at, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) at[i] = (unsigned char)(v >> (8 * i));
    return at + bytes;
}

static unsigned char *store_text(unsigned char *at, const char *text, size_t n)
{
    at = store(at, n, 8);
    if (n) memcpy(at, text, n);
    return at + n;
}

static uint32_t bits_of(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

/* ---- metadata ---------------------------------------------------------------------------------------------------- */

/* One more element for a list; false when memory is short. */
static bool reserve(struct gguf_writer *w, void **list, size_t n, size_t *capacity, size_t size)
{
    if (n < *capacity) return true;
    size_t wanted = *capacity ? *capacity * 2 : 64;
    void *grown = memory_realloc(*list, wanted * size); /* bounded: at most twice what lies in memory, or 64 */
    if (!grown) {
        refuse_memory(w);
        return false;
    }
    *list = grown;
    *capacity = wanted;
    return true;
}

/* Room for the encoded value of a key; NULL after a failure. */
static unsigned char *add_pair(struct gguf_writer *w, const char *key, enum gguf_type type, size_t n)
{
    size_t key_n = strlen(key);
    if (!may_add(w, "key", key)) return NULL;
    if (!gguf_name_is_printable(key, key_n) || key_n > GGUF_MAX_KEY_BYTES) {
        refuse(w, SLUICE_ARGUMENT, "key", key, "name must be 1 to %d printable bytes", GGUF_MAX_KEY_BYTES);
        return NULL;
    }
    if (!reserve(w, (void **)&w->pairs, w->n_pairs, &w->pairs_capacity, sizeof *w->pairs)) return NULL;
    struct pair *p = &w->pairs[w->n_pairs];
    *p = (struct pair){.key = memory_strndup(key, key_n), .type = type, .encoded = memory_alloc(n), .n = n};
    w->n_pairs++;
    if (p->key && p->encoded) return p->encoded;
    refuse_memory(w);
    return NULL;
}

static void add_number(struct gguf_writer *w, const char *key, enum gguf_type type, uint64_t bits)
{
    size_t bytes = gguf_types[type].bytes;
    unsigned char *at = add_pair(w, key, type, bytes);
    if (at) store(at, bits, bytes);
}

/* Room for `bytes` of elements. */
static unsigned char *add_array(struct gguf_writer *w, const char *key, enum gguf_type element, size_t n, size_t bytes)
{
    if (n > GGUF_MAX_ELEMENTS) {
        refuse(w, SLUICE_UNSUPPORTED, "key", key, "array count %zu exceeds the limit %d", n, GGUF_MAX_ELEMENTS);
        return NULL;
    }
    unsigned char *at = add_pair(w, key, GGUF_ARRAY, ARRAY_HEAD_BYTES + bytes);
    return at ? store(store(at, element, 4), n, 8) : NULL;
}

static bool string_fits(struct gguf_writer *w, const char *key, size_t n)
{
    if (n <= GGUF_MAX_STRING_BYTES) return true;
    refuse(w, SLUICE_UNSUPPORTED, "key", key, "string length %zu exceeds the limit %d", n, GGUF_MAX_STRING_BYTES);
    return false;
}

void gguf_put_bool(struct gguf_writer *w, const char *key, bool value) { add_number(w, key, GGUF_BOOL, value); }

void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t value) { add_number(w, key, GGUF_UINT32, value); }

void gguf_put_f32(struct gguf_writer *w, const char *key, float value)
{
    add_number(w, key, GGUF_FLOAT32, bits_of(value));
}

void gguf_put_f64(struct gguf_writer *w, const char *key, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    add_number(w, key, GGUF_FLOAT64, bits);
}

void gguf_put_string(struct gguf_writer *w, const char *key, const char *value, size_t n)
{
    unsigned char *at = string_fits(w, key, n) ? add_pair(w, key, GGUF_STRING, 8 + n) : NULL;
    if (at) store_text(at, value, n);
}

void gguf_put_text(struct gguf_writer *w, const char *key, const char *text)
{
    gguf_put_string(w, key, text, strlen(text));
}

void gguf_put_bools(struct gguf_writer *w, const char *key, const bool *values, size_t n)
{
    unsigned char *at = add_array(w, key, GGUF_BOOL, n, n);
    for (size_t i = 0; at && i < n; i++) at[i] = values[i];
}

void gguf_put_i32s(struct gguf_writer *w, const char *key, const int32_t *values, size_t n)
{
    unsigned char *at = add_array(w, key, GGUF_INT32, n, n * 4);
    for (size_t i = 0; at && i < n; i++) at = store(at, (uint32_t)values[i], 4);
}

void gguf_put_f32s(struct gguf_writer *w, const char *key, const float *values, size_t n)
{
    unsigned char *at = add_array(w, key, GGUF_FLOAT32, n, n * 4);
    for (size_t i = 0; at && i < n; i++) at = store(at, bits_of(values[i]), 4);
}

void gguf_put_strings(struct gguf_writer *w, const char *key, const char *const *strings, const size_t *lengths,
                      size_t n)
{
    size_t bytes = 0; /* of strings that lie in memory: the sum fits */
    for (size_t i = 0; i < n; i++) {
        if (!string_fits(w, key, lengths[i])) return;
        bytes += 8 + lengths[i];
    }
    unsigned char *at = add_array(w, key, GGUF_STRING, n, bytes);
    for (size_t i = 0; at && i < n; i++) at = store_text(at, strings[i], lengths[i]);
}

void gguf_put_meta(struct gguf_writer *w, const char *key, struct meta value)
{
    const struct gguf_value *v = value.type ? value.node : NULL;
    if (strcmp(key, "general.alignment") == 0 || strncmp(key, "split.", 6) == 0) return;
    if (!v) {
        refuse(w, SLUICE_ARGUMENT, "key", key, "the value is not that of a key of a GGUF file");
        return;
    }
    unsigned char *at = add_pair(w, key, v->type, v->encoded_bytes);
    if (at) memcpy(at, v->encoded, v->encoded_bytes);
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

static bool measure_tensor(struct out_tensor *t)
{
    const struct dtype_info *info = dtype_info(t->type);
    uint64_t count = 1, padded, block = (uint64_t)info->elements_per_block;
    for (int i = 0; i < t->n_dims; i++)
        if (t->shape[i] == 0 || !checked_mul(&count, count, t->shape[i])) return false;
    return info->gguf_type >= 0 && t->shape[t->n_dims - 1] % block == 0 &&
           checked_mul(&t->bytes, count / block, info->bytes_per_block) && checked_align(&padded, t->bytes, ALIGNMENT);
}

void gguf_add_tensor(struct gguf_writer *w, const char *name, enum dtype type, int n_dims, const uint64_t *shape)
{
    size_t n = strlen(name);
    struct out_tensor t = {.type = type, .n_dims = n_dims};
    if (!may_add(w, "tensor", name)) return;
    if (!gguf_name_is_printable(name, n) || n > MAX_NAME_BYTES) {
        refuse(w, SLUICE_UNSUPPORTED, "tensor", name, "name must be 1 to %d printable bytes", MAX_NAME_BYTES);
        return;
    }
    if (n_dims < 1 || n_dims > GGUF_MAX_DIMS) {
        refuse(w, SLUICE_UNSUPPORTED, "tensor", name, "%d dimensions (1..%d)", n_dims, GGUF_MAX_DIMS);
        return;
    }
    memcpy(t.shape, shape, (size_t)n_dims * sizeof *shape);
    if (!measure_tensor(&t)) {
        refuse(w, SLUICE_UNSUPPORTED, "tensor", name, "rows of %llu cannot be stored as %s",
               (unsigned long long)shape[n_dims - 1], dtype_info(type)->name);
        return;
    }
    if (!reserve(w, (void **)&w->tensors, w->n_tensors, &w->tensors_capacity, sizeof t)) return;
    t.name = memory_strndup(name, n);
    if (!t.name) {
        refuse_memory(w);
        return;
    }
    w->tensors[w->n_tensors++] = t;
}

/* ---- begin: the header ------------------------------------------------------------------------------------------- */

static void free_pairs(struct gguf_writer *w)
{
    for (size_t i = 0; i < w->n_pairs; i++) {
        memory_free(w->pairs[i].key);
        memory_free(w->pairs[i].encoded);
    }
    memory_free(w->pairs);
    w->pairs = NULL;
    w->n_pairs = 0;
}

/* Pairs in one array keep their order, so their addresses tell who came first. */
static int compare_pairs(const void *a, const void *b)
{
    const struct pair *p = *(const struct pair *const *)a, *q = *(const struct pair *const *)b;
    int order = strcmp(p->key, q->key);
    return order ? order : (p > q) - (p < q);
}

/* Of several values of a key, the last one moves to the place of the first. */
static sluice_status join_pairs(struct gguf_writer *w, struct failure *f)
{
    struct pair **order = memory_calloc(w->n_pairs, sizeof(void *));
    if (!order) return fail_memory(f, w->shown);
    for (size_t i = 0; i < w->n_pairs; i++) order[i] = &w->pairs[i];
    if (w->n_pairs > 1) qsort(order, w->n_pairs, sizeof *order, compare_pairs);
    for (size_t i = 0, first = 0; i < w->n_pairs; i++) {
        if (i == first || strcmp(order[i]->key, order[first]->key) != 0) {
            first = i;
            continue;
        }
        memory_free(order[first]->encoded);
        memory_free(order[i]->key);
        order[first]->encoded = order[i]->encoded;
        order[first]->n = order[i]->n;
        order[first]->type = order[i]->type;
        order[i]->key = NULL;
        order[i]->encoded = NULL;
    }
    memory_free(order);
    size_t kept = 0;
    for (size_t i = 0; i < w->n_pairs; i++)
        if (w->pairs[i].key) w->pairs[kept++] = w->pairs[i];
    w->n_pairs = kept;
    if (kept <= GGUF_MAX_KEYS) return SLUICE_OK;
    return fail(f, SLUICE_UNSUPPORTED, "%s: key count %zu exceeds the limit %d", w->shown, kept, GGUF_MAX_KEYS);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(const struct out_tensor *const *)a)->name, (*(const struct out_tensor *const *)b)->name);
}

static sluice_status check_names(struct gguf_writer *w, struct failure *f)
{
    if (w->n_tensors > ARCHIVE_MAX_TENSORS)
        return fail(f, SLUICE_UNSUPPORTED, "%s: tensor count %zu exceeds the limit %d", w->shown, w->n_tensors,
                    ARCHIVE_MAX_TENSORS);
    const struct out_tensor **order = memory_calloc(w->n_tensors, sizeof(void *));
    if (!order) return fail_memory(f, w->shown);
    for (size_t i = 0; i < w->n_tensors; i++) order[i] = &w->tensors[i];
    if (w->n_tensors > 1) qsort(order, w->n_tensors, sizeof *order, compare_names);
    sluice_status status = SLUICE_OK;
    for (size_t i = 1; !status && i < w->n_tensors; i++)
        if (strcmp(order[i]->name, order[i - 1]->name) == 0) {
            refuse(w, SLUICE_ARGUMENT, "tensor", order[i]->name, "is added twice");
            status = fail_first(w, f);
        }
    memory_free(order);
    return status;
}

/* Gives every tensor its place. Header and tensors are sums of what lies in memory or was checked: only the total of
 * the tensors can overflow. */
static sluice_status place_all(struct gguf_writer *w, size_t *header_bytes, struct failure *f)
{
    size_t header = GGUF_HEADER_BYTES;
    uint64_t data = 0;
    for (size_t i = 0; i < w->n_pairs; i++) header += 8 + strlen(w->pairs[i].key) + 4 + w->pairs[i].n;
    bool fits = true;
    for (size_t i = 0; fits && i < w->n_tensors; i++) {
        struct out_tensor *t = &w->tensors[i];
        header += 8 + strlen(t->name) + 4 + 8 * (size_t)t->n_dims + 4 + 8;
        t->offset = data;
        fits = checked_add(&data, data, t->bytes) && checked_align(&data, data, ALIGNMENT);
    }
    fits = fits && checked_align(&w->data_start, header, ALIGNMENT) &&
           checked_add(&w->file_bytes, w->data_start, data) && w->file_bytes <= INT64_MAX;
    *header_bytes = header;
    return fits ? SLUICE_OK : fail(f, SLUICE_UNSUPPORTED, "%s: total size overflows", w->shown);
}

static void encode_header(const struct gguf_writer *w, unsigned char *at)
{
    memcpy(at, "GGUF", 4);
    at = store(at + 4, VERSION, 4);
    at = store(at, w->n_tensors, 8);
    at = store(at, w->n_pairs, 8);
    for (size_t i = 0; i < w->n_pairs; i++) {
        const struct pair *p = &w->pairs[i];
        at = store_text(at, p->key, strlen(p->key));
        at = store(at, p->type, 4);
        memcpy(at, p->encoded, p->n);
        at += p->n;
    }
    for (size_t i = 0; i < w->n_tensors; i++) {
        const struct out_tensor *t = &w->tensors[i];
        at = store_text(at, t->name, strlen(t->name));
        at = store(at, (uint64_t)t->n_dims, 4);
        for (int d = t->n_dims - 1; d >= 0; d--) at = store(at, t->shape[d], 8);
        at = store(at, (uint64_t)dtype_info(t->type)->gguf_type, 4);
        at = store(at, t->offset, 8);
    }
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

sluice_status gguf_writer_create(struct gguf_writer **out, const char *path, struct failure *f)
{
    static const char suffix[] = ".part";
    size_t n = strlen(path);
    char shown[SHOWN_PATH_BYTES];
    struct stat s;
    *out = NULL;
    file_show_path(shown, path);
    if (lstat(path, &s) == 0) return fail(f, SLUICE_IO, "%s: exists already, and is not overwritten", shown);

    struct gguf_writer *w = memory_calloc(1, sizeof *w);
    if (!w) return fail_memory(f, shown);
    w->fd = -1;
    memcpy(w->shown, shown, sizeof shown);
    w->path = memory_strndup(path, n);
    w->part = memory_alloc(n + sizeof suffix);
    sluice_status status = w->path && w->part ? SLUICE_OK : fail_memory(f, shown);
    if (!status) {
        memcpy(w->part, path, n);
        memcpy(w->part + n, suffix, sizeof suffix);
        do w->fd = open(w->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0666);
        while (w->fd < 0 && errno == EINTR);
        if (w->fd < 0 && errno == EEXIST)
            status =
                fail(f, SLUICE_IO, "%s%s: exists already: another run is writing it, or was killed (then delete it)",
                     shown, suffix);
        else if (w->fd < 0)
            status = fail(f, SLUICE_IO, "%s%s: cannot create: %s", shown, suffix, strerror(errno));
    }
    if (status) gguf_writer_close(&w);
    *out = w;
    return status;
}

void gguf_writer_close(struct gguf_writer **writer)
{
    struct gguf_writer *w = *writer;
    *writer = NULL;
    if (!w) return;
    if (w->fd >= 0) {
        close(w->fd);
        if (!w->committed) unlink(w->part);
    }
    free_pairs(w);
    for (size_t i = 0; i < w->n_tensors; i++) memory_free(w->tensors[i].name);
    memory_free(w->tensors);
    memory_free(w->path);
    memory_free(w->part);
    memory_free(w);
}

static sluice_status fail_write(const struct gguf_writer *w, int error, struct failure *f)
{
    return fail(f, SLUICE_IO, "%s.part: cannot write: %s", w->shown, strerror(error));
}

static sluice_status write_at(const struct gguf_writer *w, uint64_t at, const void *data, size_t n, struct failure *f)
{
    const unsigned char *bytes = data;
    while (n > 0) {
        ssize_t done = pwrite(w->fd, bytes, n, (off_t)at); /* the system writes less than 2 GiB at a time */
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return fail_write(w, done < 0 ? errno : ENOSPC, f);
        bytes += done;
        n -= (size_t)done;
        at += (uint64_t)done; /* bounded: the file's length was checked */
    }
    return SLUICE_OK;
}

/* Disk space is taken now. Where the file system cannot do that, the file only gets its length: posix_fallocate would
 * then write to every block of it, which takes as long as the work itself. */
static sluice_status reserve_disk(const struct gguf_writer *w, struct failure *f)
{
    int error;
    do error = fallocate(w->fd, 0, 0, (off_t)w->file_bytes) == 0 ? 0 : errno;
    while (error == EINTR);
    if (error == EOPNOTSUPP || error == ENOSYS || error == EINVAL)
        error = ftruncate(w->fd, (off_t)w->file_bytes) == 0 ? 0 : errno;
    if (!error) return SLUICE_OK;
    return fail(f, SLUICE_IO, "%s.part: cannot reserve %llu bytes: %s", w->shown, (unsigned long long)w->file_bytes,
                strerror(error));
}

sluice_status gguf_begin_data(struct gguf_writer *w, struct failure *f)
{
    size_t header_bytes = 0;
    if (w->begun && !w->first.status) return fail(f, SLUICE_ARGUMENT, "%s: the data have begun already", w->shown);
    if (w->first.status) return fail_first(w, f);
    sluice_status status = join_pairs(w, f);
    if (!status) status = check_names(w, f);
    if (!status) status = place_all(w, &header_bytes, f);
    if (!status) status = reserve_disk(w, f);
    if (status) return status;

    unsigned char *header = memory_alloc(header_bytes);
    if (!header) return fail_memory(f, w->shown);
    encode_header(w, header);
    status = write_at(w, 0, header, header_bytes, f);
    memory_free(header);
    if (status) return status;
    free_pairs(w);
    w->begun = true;
    return SLUICE_OK;
}

uint64_t gguf_file_bytes(const struct gguf_writer *w) { return w->file_bytes; }

sluice_status gguf_write_data(struct gguf_writer *w, size_t tensor, uint64_t offset, const void *data, size_t n,
                              struct failure *f)
{
    uint64_t end;
    if (!w->begun || tensor >= w->n_tensors)
        return fail(f, SLUICE_ARGUMENT, "%s: no tensor %zu to write to", w->shown, tensor);
    struct out_tensor *t = &w->tensors[tensor];
    if (!checked_add(&end, offset, n) || end > t->bytes)
        return fail(f, SLUICE_ARGUMENT, "%s: tensor \"%s\": %zu bytes at %llu do not fit in its %llu", w->shown,
                    t->name, n, (unsigned long long)offset, (unsigned long long)t->bytes);
    uint64_t at = w->data_start + t->offset + offset; /* bounded: place_all compared the end of each with 2^63 */
    sluice_status status = write_at(w, at, data, n, f);
    if (!status) atomic_fetch_add_explicit(&t->written, n, memory_order_relaxed);
    return status;
}

/* ---- commit ------------------------------------------------------------------------------------------------------ */

static sluice_status check_written(const struct gguf_writer *w, struct failure *f)
{
    for (size_t i = 0; i < w->n_tensors; i++) {
        const struct out_tensor *t = &w->tensors[i];
        uint64_t written = atomic_load_explicit(&t->written, memory_order_relaxed);
        if (written != t->bytes)
            return fail(f, SLUICE_ARGUMENT, "%s: tensor \"%s\": %llu bytes written, expected %llu", w->shown, t->name,
                        (unsigned long long)written, (unsigned long long)t->bytes);
    }
    return SLUICE_OK;
}

/* A rename that does not replace, by what the file system offers: in one step; as a second name; or, where it knows no
 * second names (FAT and the like), with a look before. Returns 0 or the error. */
static int rename_new(const char *from, const char *to)
{
    struct stat s;
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) return errno;
    if (link(from, to) == 0) {
        unlink(from);
        return 0;
    }
    if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS) return errno;
    if (lstat(to, &s) == 0) return EEXIST;
    if (errno != ENOENT) return errno; /* there may be one */
    return rename(from, to) == 0 ? 0 : errno;
}

/* The new name survives a power cut only when its folder is written too. Not every file system can; nothing depends
 * on it. */
static void flush_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? memory_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : memory_strndup(".", 1);
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    memory_free(folder);
}

sluice_status gguf_writer_commit(struct gguf_writer *w, struct failure *f)
{
    if (w->first.status) return fail_first(w, f);
    if (!w->begun || w->committed) return fail(f, SLUICE_ARGUMENT, "%s: there is nothing to commit", w->shown);
    sluice_status status = check_written(w, f);
    if (status) return status;
    while (fsync(w->fd) != 0)
        if (errno != EINTR) return fail_write(w, errno, f);
    int error = rename_new(w->part, w->path);
    if (error == EEXIST) return fail(f, SLUICE_IO, "%s: exists already, and is not overwritten", w->shown);
    if (error) return fail(f, SLUICE_IO, "%s: cannot rename: %s", w->shown, strerror(error));
    w->committed = true;
    flush_folder(w->path);
    return SLUICE_OK;
}
