/* Owns struct archive: opening by kind, the sorted directory of tensors, and everything's end.
 *
 * What lies in a folder is folder.c's business, what lies in a file that of safetensors.c or gguf.c. Read next:
 * folder.c. */
#include "weights/archive.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "weights/archive_parts.h"

/* "models/tiny/" -> "tiny"; "." and ".." say nothing, so there the real folder is asked. Escaped. */
static char *base_name(const char *path)
{
    char real[PATH_MAX], shown[ESCAPED_BYTES];
    for (int attempt = 0;; attempt++) {
        size_t n = strlen(path);
        while (n > 1 && path[n - 1] == '/') n--;
        size_t begin = n;
        while (begin > 0 && path[begin - 1] != '/') begin--;
        escape_text(shown, sizeof shown, path + begin, n - begin);
        bool says_nothing = strcmp(shown, ".") == 0 || strcmp(shown, "..") == 0;
        if (!says_nothing || attempt > 0 || !realpath(path, real)) break;
        path = real;
    }
    return memory_strndup(shown, strlen(shown));
}

static bool is_gguf(const struct file_map *map) { return map->bytes >= 4 && memcmp(map->data, "GGUF", 4) == 0; }

sluice_status archive_refuse_pointer(const struct file_map *map, const char *shown, struct failure *f)
{
    static const char pointer[] = "version https://git-lfs";
    if (map->bytes < sizeof pointer || memcmp(map->data, pointer, sizeof pointer - 1) != 0) return SLUICE_OK;
    return fail(f, SLUICE_FORMAT, "%s: is a Git LFS pointer, not the file itself: fetch it with git lfs pull", shown);
}

sluice_status archive_refuse_other_formats(const struct file_map *map, const char *shown, struct failure *f)
{
    static const char zip[] = {'P', 'K', 3, 4}, pickle[] = {(char)0x80, 2};
    if (is_gguf(map)) return fail(f, SLUICE_FORMAT, "%s: is a GGUF file, not a safetensors file", shown);
    sluice_status status = archive_refuse_pointer(map, shown, f);
    if (status) return status;
    if (map->bytes < 9 || map->data[8] == '{') return SLUICE_OK; /* a header length can look like the next two */
    if (memcmp(map->data, zip, sizeof zip) == 0 || memcmp(map->data, pickle, sizeof pickle) == 0)
        return fail(f, SLUICE_UNSUPPORTED, "%s: is a PyTorch file: convert it to safetensors", shown);
    return SLUICE_OK;
}

/* Takes the map over; `shown` is the escaped path. */
static sluice_status open_safetensors(struct archive *a, struct file_map map, const char *shown, unsigned flags,
                                      struct failure *f)
{
    a->format = ARCHIVE_SAFETENSORS;
    a->files = memory_calloc(1, sizeof *a->files);
    if (!a->files) {
        file_map_close(&map);
        return fail_memory(f, a->name);
    }
    a->n_files = 1;
    struct tensor_file *file = &a->files[0];
    file->map = map;
    file->name = memory_strndup(a->name, strlen(a->name));
    if (!file->name) return fail_memory(f, a->name);

    sluice_status status = archive_refuse_other_formats(&file->map, file->name, f);
    if (!status && flags & ARCHIVE_CONFIG)
        status = fail(f, SLUICE_ARGUMENT, "%s: a single file has no config.json: name the folder of the model", shown);
    if (!status) status = safetensors_read(file, f);
    return status ? status : archive_join(a, f);
}

/* Takes the map over. The other parts of a split model lie in the folder of `path`. */
static sluice_status open_gguf(struct archive *a, const char *path, struct file_map map, unsigned flags,
                               struct failure *f)
{
    char folder[PATH_MAX];
    struct file_root root;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (slash == path) n = 1;
    if (n >= sizeof folder) n = sizeof folder - 1;                           /* more is no path that can be opened */
    snprintf(folder, sizeof folder, "%.*s", n ? (int)n : 1, n ? path : "."); /* bounded: less than PATH_MAX */
    sluice_status status = file_root_find(&root, folder, a->access, f);
    if (!status) return gguf_open(a, &root, name, map, flags, f);
    file_map_close(&map);
    return status;
}

/* A single file: what it is, its first bytes tell, or else its name. `shown` is the escaped path. */
static sluice_status open_file(struct archive *a, const char *path, const char *shown, unsigned flags,
                               struct failure *f)
{
    static const char suffix[] = ".gguf";
    struct file_map map;
    size_t n = strlen(path), suffix_n = sizeof suffix - 1;
    sluice_status status = file_map_open(&map, path, shown, UINT64_MAX, a->access, f);
    if (status) return status;
    bool named_gguf = n >= suffix_n && strcmp(path + n - suffix_n, suffix) == 0;
    status =
        is_gguf(&map) || named_gguf ? open_gguf(a, path, map, flags, f) : open_safetensors(a, map, shown, flags, f);
    sluice_status lost = archive_check(a, f);
    return lost ? lost : status;
}

/* Which folder matters when a file of it cannot be read: people have several. */
static sluice_status open_folder(struct archive *a, const char *path, const char *shown, unsigned flags,
                                 struct failure *f)
{
    char snapshot[PATH_MAX];
    sluice_status status = folder_read(a, file_hub_snapshot(snapshot, path), flags, f), lost = archive_check(a, f);
    if (lost) status = lost;
    if (status == SLUICE_IO) fail_in(f, shown);
    return status;
}

sluice_status archive_open(struct archive **out, const char *path, unsigned flags, struct failure *f)
{
    *out = NULL;
    char shown[SHOWN_PATH_BYTES];
    struct stat s;
    file_show_path(shown, path);
    if (stat(path, &s) != 0) return fail(f, SLUICE_IO, "%s: cannot open: %s", shown, strerror(errno));

    struct archive *a = memory_calloc(1, sizeof *a);
    if (!a) return fail_memory(f, shown);
    a->name = base_name(path);
    a->access = flags & ARCHIVE_READ ? FILE_READ : FILE_MAPPED;
    sluice_status status = SLUICE_OK;
    if (!a->name)
        status = fail_memory(f, shown);
    else if (S_ISDIR(s.st_mode))
        status = open_folder(a, path, shown, flags, f);
    else
        status = open_file(a, path, shown, flags, f);
    if (status) {
        archive_close(&a);
        return status;
    }
    *out = a;
    return SLUICE_OK;
}

sluice_status archive_check(const struct archive *a, struct failure *f)
{
    static const char *const texts[N_TEXTS] = {"tokenizer.json", "tiktoken.model", "tokenizer_config.json",
                                               "chat_template.jinja", "README.md"};
    sluice_status status = SLUICE_OK;
    for (size_t i = 0; !status && i < a->n_files; i++) {
        const struct tensor_file *file = &a->files[i];
        if (file->name) status = file_map_check(&file->map, file->name, f);
    }
    for (int i = 0; !status && i < N_TEXTS; i++) status = file_map_check(&a->texts[i].map, texts[i], f);
    return status;
}

void archive_close_texts(struct archive *a)
{
    for (int i = 0; i < N_DOCUMENTS; i++) json_decref(a->documents[i]);
    for (int i = 0; i < N_TEXTS; i++) file_map_close(&a->texts[i].map);
    memset(a->documents, 0, sizeof a->documents);
    memset(a->texts, 0, sizeof a->texts);
}

void archive_close(struct archive **archive)
{
    struct archive *a = *archive;
    *archive = NULL;
    if (!a) return;
    for (size_t i = 0; i < a->n_files; i++) tensor_file_close(&a->files[i]);
    archive_close_texts(a);
    memory_free(a->files);
    memory_free(a->tensors);
    memory_free(a->warning);
    memory_free(a->name);
    memory_free(a);
}

sluice_status tensor_file_take(struct tensor_file *file, const char *name, struct file_map map, struct failure *f)
{
    char shown[ESCAPED_BYTES];
    escape_text(shown, sizeof shown, name, strlen(name));
    file->map = map;
    file->name = memory_strndup(shown, strlen(shown));
    return file->name ? SLUICE_OK : fail_memory(f, shown);
}

sluice_status archive_add_up(struct archive *a, const struct tensor_file *file, struct failure *f)
{
    a->header_bytes += file->header_bytes; /* bounded: compared each time, as the next one is */
    a->n_read += file->n;                  /* bounded: the same */
    if (a->header_bytes > ARCHIVE_MAX_HEADER_BYTES)
        return fail(f, SLUICE_FORMAT, "%s: header: all headers up to here have %llu bytes, expected at most %d",
                    file->name, (unsigned long long)a->header_bytes, ARCHIVE_MAX_HEADER_BYTES);
    if (a->n_read > ARCHIVE_MAX_TENSORS)
        return fail(f, SLUICE_FORMAT, "%s: header: all files up to here have %llu tensors, expected at most %d",
                    file->name, (unsigned long long)a->n_read, ARCHIVE_MAX_TENSORS);
    return SLUICE_OK;
}

sluice_status archive_join(struct archive *a, struct failure *f)
{
    size_t n_tensors = 0;
    for (size_t i = 0; i < a->n_files; i++)
        n_tensors += a->files[i].n; /* bounded: by ARCHIVE_MAX_TENSORS in each file, and in archive_add_up */
    if (a->n_files == 1) {
        a->tensors = a->files[0].tensors;
        a->files[0].tensors = NULL;
    } else {
        a->tensors = memory_calloc(n_tensors, sizeof *a->tensors);
        if (!a->tensors) return fail_memory(f, a->name);
        struct tensor_view *next = a->tensors;
        for (size_t i = 0; i < a->n_files; i++) {
            struct tensor_file *file = &a->files[i];
            if (file->n) memcpy(next, file->tensors, file->n * sizeof *next);
            next += file->n;
            memory_free(file->tensors);
            file->tensors = NULL;
        }
        tensors_sort(a->tensors, n_tensors);
    }
    a->n_tensors = n_tensors;
    return SLUICE_OK;
}

enum archive_format archive_format(const struct archive *a) { return a->format; }

const char *archive_name(const struct archive *a) { return a->name; }

const char *archive_warning(const struct archive *a) { return a->warning; }

size_t archive_n_tensors(const struct archive *a) { return a->n_tensors; }

const struct tensor_view *archive_tensor(const struct archive *a, size_t i) { return &a->tensors[i]; }

const struct tensor_view *archive_find(const struct archive *a, const char *name)
{
    size_t low = 0, high = a->n_tensors;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, a->tensors[middle].name);
        if (order == 0) return &a->tensors[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

void archive_release(const struct archive *a, const struct tensor_view *t)
{
    (void)a;
    memory_release_range(t->data, (size_t)t->bytes); /* bounded: the tensor lies in a map */
}

bool archive_is_read(const struct archive *a) { return a->access == FILE_READ; }

/* What does not fit is told before an hour of reading. */
sluice_status archive_read_tensors(const struct archive *a, struct failure *f)
{
    const uint64_t available = memory_available();
    uint64_t missing = 0;
    for (size_t i = 0; i < a->n_files; i++)
        if (!checked_add(&missing, missing, file_map_missing(&a->files[i].map))) missing = UINT64_MAX;
    if (available && missing > available)
        return fail(f, SLUICE_MEMORY, "%s: its files need %.1f GB to be read into memory, %.1f GB are available",
                    a->name, (double)missing * 1e-9, (double)available * 1e-9);
    sluice_status status = SLUICE_OK;
    for (size_t i = 0; !status && i < a->n_files; i++) {
        const struct tensor_file *file = &a->files[i];
        file_map_need(&file->map, file->map.bytes);
        status = file_map_check(&file->map, file->name, f);
    }
    return status;
}

bool archive_may_read(const struct archive *a, const unsigned char *p, size_t n)
{
    const uintptr_t at = (uintptr_t)p;
    for (size_t i = 0; i < a->n_files; i++) {
        const struct file_map *map = &a->files[i].map;
        const uintptr_t begin = (uintptr_t)map->data;
        uint64_t bytes; /* with what the system adds to the last page, zeros */
        if (at < begin || at - begin >= map->bytes) continue;
        return checked_align(&bytes, map->bytes, memory_page_bytes()) && n <= bytes - (at - begin);
    }
    return false;
}

struct meta archive_meta(const struct archive *a, enum archive_document d, const char *path)
{
    if (d == DOCUMENT_GGUF) return gguf_meta(a->format == ARCHIVE_GGUF ? gguf_find(&a->files[0], path) : NULL);
    return document_find(a->documents[d], path);
}

const char *archive_gguf_key(const struct archive *a, size_t i, struct meta *value)
{
    if (a->format != ARCHIVE_GGUF || i >= a->files[0].n_values) return NULL;
    *value = gguf_meta(&a->files[0].values[i]);
    return a->files[0].values[i].key;
}

const char *archive_tensor_metadata(const struct archive *a, const char *key)
{
    if (a->n_files == 0) return NULL;
    for (size_t i = 0; i < a->files[0].n_metadata; i++)
        if (strcmp(a->files[0].metadata[i].key, key) == 0) return a->files[0].metadata[i].value;
    return NULL;
}

const char *archive_text(const struct archive *a, enum archive_text which, size_t *n)
{
    const struct text *text = &a->texts[which];
    *n = text->map.bytes;
    if (!text->present) return NULL;
    return text->map.data ? (const char *)text->map.data : "";
}
