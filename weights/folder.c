/* A Hugging Face folder: configuration documents, raw texts, and one safetensors file or the shards of an index. A
 * folder that holds a GGUF model instead is passed on to gguf_files.c.
 *
 *     config.json                     the model's numbers              document
 *     generation_config.json          defaults for sampling            document
 *     tokenizer_config.json           special tokens, chat template    document and text
 *     tokenizer.json, tiktoken.model  vocabulary, one or the other     text
 *     chat_template.jinja, README.md  chat template, model card        text
 *     model.safetensors               all tensors, or else
 *     model.safetensors.index.json    {"weight_map": {"TENSOR": "SHARD", ...}, "metadata": {"total_size": N}}
 *
 * Owns which files are read and the agreement between index and shards. The index may list a million tensors, so it is
 * read as events, without a tree. Which paths may be opened is file.c's business. Read next: safetensors.c, file.c. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/json_events.h"
#include "weights/archive_parts.h"

static const char single_file[] = "model.safetensors", index_file[] = "model.safetensors.index.json";

const char *archive_document_name(enum archive_document d)
{
    static const char *const names[N_DOCUMENTS] = {
        [DOCUMENT_CONFIG] = "config.json",
        [DOCUMENT_GENERATION_CONFIG] = "generation_config.json",
        [DOCUMENT_TOKENIZER_CONFIG] = "tokenizer_config.json",
        [DOCUMENT_GGUF] = "metadata",
    };
    return names[d];
}

static bool ends_with(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);
    return n >= m && strcmp(name + n - m, suffix) == 0;
}

/* A needed file is absent. If the folder holds a format that is not read, that is the sentence a person needs. */
static sluice_status fail_absent(const struct file_root *root, const char *wanted, const char *addition,
                                 struct failure *f)
{
    char first[NAME_MAX + 1] = "", shown[ESCAPED_BYTES];
    DIR *folder = opendir(root->folder[0] ? root->folder : "/");
    for (struct dirent *d; folder && (d = readdir(folder));) {
        const char *name = d->d_name;
        bool known = ends_with(name, ".pth") || (strncmp(name, "pytorch_model", 13) == 0 && ends_with(name, ".bin"));
        if (known && (!first[0] || strcmp(name, first) < 0)) snprintf(first, sizeof first, "%s", name);
    }
    if (folder) closedir(folder);

    escape_text(shown, sizeof shown, first, strlen(first));
    if (first[0]) return fail(f, SLUICE_UNSUPPORTED, "%s: is a PyTorch file: convert it to safetensors", shown);
    return fail(f, SLUICE_IO, "%s: cannot open: %s%s", wanted, strerror(ENOENT), addition);
}

/* ---- documents and texts ---------------------------------------------------------------------------------------- */

static sluice_status read_text(struct text *text, const struct file_root *root, const char *name, uint64_t max_bytes,
                               struct failure *f)
{
    bool absent;
    sluice_status status = file_map_in(&text->map, root, name, max_bytes, &absent, f);
    text->present = !status && !absent;
    file_map_need(&text->map, text->map.bytes);
    return status;
}

static sluice_status read_document(struct archive *a, const struct file_root *root, enum archive_document d,
                                   bool needed, struct failure *f)
{
    const char *name = archive_document_name(d);
    struct text text = {0};
    sluice_status status = read_text(&text, root, name, ARCHIVE_MAX_DOCUMENT_BYTES, f);
    if (!status && text.present)
        status = document_parse(&a->documents[d], name, &text.map, f);
    else if (!status && needed)
        status = fail_absent(root, name, "", f);
    sluice_status lost = file_map_check(&text.map, name, f);
    if (lost) status = lost;

    if (d == DOCUMENT_TOKENIZER_CONFIG)
        a->texts[TEXT_TOKENIZER_CONFIG] = text;
    else
        file_map_close(&text.map);
    return status;
}

static sluice_status read_documents(struct archive *a, const struct file_root *root, unsigned flags, struct failure *f)
{
    sluice_status status = SLUICE_OK;
    for (int d = 0; !status && d < DOCUMENT_GGUF; d++)
        status = read_document(a, root, (enum archive_document)d, d == DOCUMENT_CONFIG && flags & ARCHIVE_CONFIG, f);
    if (!status) status = read_text(&a->texts[TEXT_TOKENIZER], root, "tokenizer.json", ARCHIVE_MAX_TOKENIZER_BYTES, f);
    if (!status) status = read_text(&a->texts[TEXT_TIKTOKEN], root, "tiktoken.model", ARCHIVE_MAX_TOKENIZER_BYTES, f);
    if (!status)
        status = read_text(&a->texts[TEXT_CHAT_TEMPLATE], root, "chat_template.jinja", ARCHIVE_MAX_DOCUMENT_BYTES, f);
    if (!status) status = read_text(&a->texts[TEXT_CARD], root, "README.md", ARCHIVE_MAX_DOCUMENT_BYTES, f);
    return status;
}

/* ---- the index -------------------------------------------------------------------------------------------------- */

struct index_entry {
    const char *tensor, *shard;
    size_t file; /* a->files[file] is the shard */
};

struct index {
    struct file_map map;
    char *strings, *next;        /* block for tensor and shard names, and its free part */
    struct index_entry *entries; /* [n] */
    size_t n, capacity;
    bool has_total;
    uint64_t total_bytes;
};

static void index_close(struct index *x)
{
    file_map_close(&x->map);
    memory_free(x->strings);
    memory_free(x->entries);
}

/* "INDEX: BEFORE"NAME"AFTER" */
static sluice_status index_fail(struct failure *f, const char *before, const char *name, size_t n, const char *after)
{
    char shown[ESCAPED_BYTES];
    escape_text(shown, sizeof shown, name, n);
    return fail(f, SLUICE_FORMAT, "%s: %s\"%s\"%s", index_file, before, shown, after);
}

static sluice_status fail_tensor(struct failure *f, const char *tensor, const char *after)
{
    return index_fail(f, "tensor ", tensor, strlen(tensor), after);
}

/* First pass: syntax, and at least as many entries as "weight_map" can have. */
static sluice_status index_reserve(struct index *x, struct failure *f)
{
    struct json_reader r;
    enum json_event event;
    json_start(&r, (const char *)x->map.data, x->map.bytes);
    while ((event = json_next(&r)) > EVENT_END) x->capacity += event == EVENT_KEY && r.depth == 2;
    if (event == EVENT_ERROR) return json_fail(&r, index_file, f);
    if (x->capacity > ARCHIVE_MAX_TENSORS)
        return fail(f, SLUICE_FORMAT, "%s: tensor count exceeds the limit %d", index_file, ARCHIVE_MAX_TENSORS);

    x->strings = x->next = memory_alloc(x->map.bytes); /* a string loses two quotes and gains one NUL */
    x->entries = memory_calloc(x->capacity, sizeof *x->entries);
    return x->strings && x->entries ? SLUICE_OK : fail_memory(f, index_file);
}

static const char *keep_text(struct index *x, const struct json_reader *r, size_t *n)
{
    char *text = x->next;
    if (!json_text(r, text, n)) return NULL;
    x->next += *n + 1;
    return text;
}

static sluice_status read_weight_map(struct index *x, struct json_reader *r, struct failure *f)
{
    size_t n;
    if (x->n) return fail(f, SLUICE_FORMAT, "%s: \"weight_map\" appears twice", index_file);
    enum json_event event = json_next(r);
    if (event != EVENT_OBJECT_OPEN) { /* as good as absent */
        json_skip(r, event);
        return SLUICE_OK;
    }
    while (json_next(r) == EVENT_KEY) {
        if (x->n == x->capacity) return fail(f, SLUICE_FORMAT, "%s: changed while it was read", index_file);
        struct index_entry *entry = &x->entries[x->n++];
        entry->tensor = keep_text(x, r, &n);
        if (!entry->tensor || n == 0)
            return index_fail(f, "tensor name ", r->raw, r->raw_n, ": expected text without NUL");
        if (json_next(r) != EVENT_STRING) return fail_tensor(f, entry->tensor, ": the shard's name must be a string");
        entry->shard = keep_text(x, r, &n);
        if (!entry->shard || !file_name_is_plain(entry->shard, n))
            return index_fail(f, "", r->raw, r->raw_n, " is not a plain file name");
    }
    return SLUICE_OK;
}

/* {"total_size": N}; anything else in it is of no interest. */
static void read_index_metadata(struct index *x, struct json_reader *r)
{
    enum json_event event = json_next(r);
    if (event != EVENT_OBJECT_OPEN) {
        json_skip(r, event);
        return;
    }
    while (json_next(r) == EVENT_KEY) {
        bool total = json_text_is(r, "total_size");
        event = json_next(r);
        if (total && event == EVENT_NUMBER) x->has_total = json_u64(r, &x->total_bytes);
        json_skip(r, event);
    }
}

static sluice_status index_read(struct index *x, struct failure *f)
{
    sluice_status status = index_reserve(x, f);
    if (status) return status;
    struct json_reader r;
    json_start(&r, (const char *)x->map.data, x->map.bytes);
    json_next(&r); /* '{'; any other value has no keys */
    while (!status && json_next(&r) == EVENT_KEY) {
        if (json_text_is(&r, "weight_map"))
            status = read_weight_map(x, &r, f);
        else if (json_text_is(&r, "metadata"))
            read_index_metadata(x, &r);
        else
            json_skip(&r, json_next(&r));
    }
    if (!status && x->n == 0) status = fail(f, SLUICE_FORMAT, "%s: \"weight_map\" is missing", index_file);
    return status;
}

/* ---- tensors ---------------------------------------------------------------------------------------------------- */

/* Takes the map over. */
static sluice_status read_tensor_file(struct tensor_file *file, const char *name, struct file_map map,
                                      struct failure *f)
{
    sluice_status status = tensor_file_take(file, name, map, f);
    if (!status) status = archive_refuse_other_formats(&file->map, file->name, f);
    return status ? status : safetensors_read(file, f);
}

static int compare_shards(const void *a, const void *b)
{
    return strcmp(((const struct index_entry *)a)->shard, ((const struct index_entry *)b)->shard);
}

static int compare_tensors(const void *a, const void *b)
{
    return strcmp(((const struct index_entry *)a)->tensor, ((const struct index_entry *)b)->tensor);
}

/* Numbers the shards 0, 1, ... in order of their names. */
static sluice_status number_shards(struct index *x, size_t *n_shards, struct failure *f)
{
    qsort(x->entries, x->n, sizeof *x->entries, compare_shards);
    *n_shards = 1;
    for (size_t i = 1; i < x->n; i++) {
        if (compare_shards(&x->entries[i], &x->entries[i - 1]) != 0) ++*n_shards;
        x->entries[i].file = *n_shards - 1;
    }
    if (*n_shards <= ARCHIVE_MAX_SHARDS) return SLUICE_OK;
    return fail(f, SLUICE_FORMAT, "%s: %zu shards exceed the limit %d", index_file, *n_shards, ARCHIVE_MAX_SHARDS);
}

static sluice_status read_shards(struct archive *a, const struct file_root *root, struct index *x, struct failure *f)
{
    size_t n_shards;
    sluice_status status = number_shards(x, &n_shards, f);
    if (status) return status;
    a->files = memory_calloc(n_shards, sizeof *a->files);
    if (!a->files) return fail_memory(f, index_file);
    a->n_files = n_shards;
    for (size_t i = 0; i < x->n; i++) {
        const struct index_entry *entry = &x->entries[i];
        if (i > 0 && entry->file == x->entries[i - 1].file) continue;
        struct file_map map;
        bool absent;
        status = file_map_in(&map, root, entry->shard, UINT64_MAX, &absent, f);
        if (!status && absent) status = index_fail(f, "shard ", entry->shard, strlen(entry->shard), " not found");
        if (!status) status = read_tensor_file(&a->files[entry->file], entry->shard, map, f);
        if (!status) status = archive_add_up(a, &a->files[entry->file], f);
        if (status) return status;
    }
    return SLUICE_OK;
}

/* Index and shards must name the same tensors: both lists are sorted by name and walked in step. */
static sluice_status compare_with_index(const struct archive *a, struct index *x, struct failure *f)
{
    qsort(x->entries, x->n, sizeof *x->entries, compare_tensors);
    for (size_t i = 1; i < x->n; i++)
        if (compare_tensors(&x->entries[i], &x->entries[i - 1]) == 0)
            return fail_tensor(f, x->entries[i].tensor, " appears twice");
    for (size_t i = 1; i < a->n_tensors; i++)
        if (strcmp(a->tensors[i].name, a->tensors[i - 1].name) == 0)
            return fail_tensor(f, a->tensors[i].name, ": found in two shards");

    for (size_t i = 0, t = 0; i < x->n || t < a->n_tensors; i++, t++) {
        const struct index_entry *entry = i < x->n ? &x->entries[i] : NULL;
        const struct tensor_view *view = t < a->n_tensors ? &a->tensors[t] : NULL;
        int order = !entry ? 1 : !view ? -1 : strcmp(entry->tensor, view->name);
        char after[ESCAPED_BYTES + 64];
        if (order <= 0 && (order < 0 || view->file != a->files[entry->file].name)) {
            snprintf(after, sizeof after, " is not in shard %s", a->files[entry->file].name);
            return fail_tensor(f, entry->tensor, after);
        }
        if (order > 0) {
            snprintf(after, sizeof after, " of shard %s is not in the index", view->file);
            return fail_tensor(f, view->name, after);
        }
    }
    return SLUICE_OK;
}

/* A wrong total_size is common in converted models and harms nobody. */
static sluice_status warn_about_total(struct archive *a, const struct index *x, struct failure *f)
{
    uint64_t total = 0;
    bool fits = true;
    for (size_t i = 0; i < a->n_tensors; i++) fits = fits && checked_add(&total, total, a->tensors[i].bytes);
    if (!x->has_total || (fits && total == x->total_bytes)) return SLUICE_OK;
    char text[256];
    snprintf(text, sizeof text, "%s: total_size is %llu, but the tensors have %llu bytes", index_file,
             (unsigned long long)x->total_bytes, (unsigned long long)total);
    a->warning = memory_strndup(text, strlen(text));
    return a->warning ? SLUICE_OK : fail_memory(f, index_file);
}

static sluice_status read_sharded(struct archive *a, const struct file_root *root, struct failure *f)
{
    struct index x = {0};
    bool absent;
    sluice_status status = file_map_in(&x.map, root, index_file, ARCHIVE_MAX_INDEX_BYTES, &absent, f);
    if (!status && absent) status = fail_absent(root, single_file, " (nor model.safetensors.index.json)", f);
    file_map_need(&x.map, x.map.bytes);
    if (!status) status = index_read(&x, f);
    if (!status) status = read_shards(a, root, &x, f);
    if (!status) status = archive_join(a, f);
    if (!status) status = compare_with_index(a, &x, f);
    if (!status) status = warn_about_total(a, &x, f);
    sluice_status lost = file_map_check(&x.map, index_file, f);
    if (lost) status = lost;
    index_close(&x);
    return status;
}

static sluice_status read_tensors(struct archive *a, const struct file_root *root, struct failure *f)
{
    struct file_map map;
    bool absent;
    sluice_status status = file_map_in(&map, root, single_file, UINT64_MAX, &absent, f);
    if (status) return status;
    if (absent) return read_sharded(a, root, f);

    a->files = memory_calloc(1, sizeof *a->files);
    if (!a->files) {
        file_map_close(&map);
        return fail_memory(f, single_file);
    }
    a->n_files = 1;
    status = read_tensor_file(&a->files[0], single_file, map, f);
    return status ? status : archive_join(a, f);
}

sluice_status folder_read(struct archive *a, const char *path, unsigned flags, struct failure *f)
{
    struct file_root root;
    bool is_gguf = false;
    sluice_status status = file_root_find(&root, path, a->access, f);
    if (!status) status = gguf_open_folder(a, &root, &is_gguf, flags, f);
    if (status || is_gguf) return status;
    status = read_documents(a, &root, flags, f);
    if (!status && flags & ARCHIVE_TENSORS) status = read_tensors(a, &root, f);
    return status;
}
