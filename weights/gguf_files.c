/* The files of one GGUF model: a single one, or the parts of a split model.
 *
 *     tiny.gguf                        one file
 *     tiny-00001-of-00003.gguf         split.no 0, split.count 3, split.tensors.count; all keys; tensors or none
 *     tiny-00002-of-00003.gguf         split.no 1, split.count 3; more tensors
 *     tiny-00003-of-00003.gguf         split.no 2, split.count 3
 *
 * Owns their names, their agreement, and which file of a folder is meant. What lies in a file is gguf.c's business.
 * Read next: gguf.c. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/checked.h"
#include "weights/archive_parts.h"

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* "STEM-00002-of-00003.gguf": stem_n bytes, part 2 of 3. Any other name is part 1 of 1, as a whole. */
struct part_name {
    size_t stem_n;
    unsigned no, count; /* 1 <= no <= count <= 99999 */
    bool numbered;
};

/* '0' stands for any digit. */
static bool looks_like(const char *text, const char *pattern)
{
    for (; *pattern; text++, pattern++)
        if (*pattern == '0' ? *text < '0' || *text > '9' : *text != *pattern) return false;
    return *text == 0;
}

static struct part_name parse_name(const char *name)
{
    static const char pattern[] = "-00000-of-00000.gguf";
    enum { PATTERN_BYTES = sizeof pattern - 1, NO_AT = 1, COUNT_AT = 10 };
    size_t n = strlen(name);
    struct part_name p = {.stem_n = n, .no = 1, .count = 1};
    if (n < PATTERN_BYTES || !looks_like(name + n - PATTERN_BYTES, pattern)) return p;
    unsigned no = (unsigned)strtoul(name + n - PATTERN_BYTES + NO_AT, NULL, 10);       /* bounded: five digits */
    unsigned count = (unsigned)strtoul(name + n - PATTERN_BYTES + COUNT_AT, NULL, 10); /* bounded: five digits */
    if (no < 1 || no > count) return p;
    return (struct part_name){.stem_n = n - PATTERN_BYTES, .no = no, .count = count, .numbered = true};
}

/* The name of another part of the same model. */
static void name_part(char out[NAME_MAX + 1], const char *name, const struct part_name *p, unsigned no)
{
    if (p->numbered)
        snprintf(out, NAME_MAX + 1, "%.*s-%05u-of-%05u.gguf", (int)p->stem_n, /* bounded: at most NAME_MAX */
                 name, no, p->count);
    else
        snprintf(out, NAME_MAX + 1, "%s", name);
}

/* ---- one part ---------------------------------------------------------------------------------------------------- */

/* An integer key of any width; `otherwise` when absent. */
static sluice_status read_key(const struct tensor_file *file, const char *key, int64_t otherwise, int64_t min,
                              int64_t max, int64_t *out, struct failure *f)
{
    struct meta m = gguf_meta(gguf_find(file, key));
    *out = m.kind == META_ABSENT ? otherwise : m.integer;
    if (m.kind != META_ABSENT && m.kind != META_INT)
        return fail(f, SLUICE_FORMAT, "%s: key \"%s\": expected an unsigned integer, found %s", file->name, key,
                    m.type);
    if (*out < min || *out > max)
        return fail(f, SLUICE_FORMAT, "%s: key \"%s\": %lld is outside %lld..%lld", file->name, key, (long long)*out,
                    (long long)min, (long long)max);
    return SLUICE_OK;
}

/* What the name says and what the keys say must be the same, or parts would be mixed up. */
static sluice_status check_part(const struct tensor_file *file, const char *name, int64_t *count, struct failure *f)
{
    struct part_name p = parse_name(name);
    int64_t no = 0;
    sluice_status status = read_key(file, "split.count", 0, 0, ARCHIVE_MAX_SHARDS, count, f);
    if (*count == 0) *count = 1; /* not split; parts that were merged say 0 */
    if (!status) status = read_key(file, "split.no", 0, 0, *count - 1, &no, f);
    if (status) return status;
    const long long part = no + 1, parts = *count; /* bounded: at most ARCHIVE_MAX_SHARDS */
    if (!p.numbered && parts > 1)
        return fail(f, SLUICE_FORMAT,
                    "%s: split: part %lld of %lld must have a name that ends in -%05lld-of-%05lld.gguf", file->name,
                    part, parts, part, parts);
    if (p.count != parts)
        return fail(f, SLUICE_FORMAT, "%s: split: file name says %u parts, key says %lld", file->name, p.count, parts);
    if (p.no != part)
        return fail(f, SLUICE_FORMAT, "%s: split: file name says part %u, key says part %lld", file->name, p.no, part);
    return SLUICE_OK;
}

static sluice_status check_same_model(const struct tensor_file *first, const struct tensor_file *part,
                                      struct failure *f)
{
    static const char key[] = "general.architecture";
    struct meta a = gguf_meta(gguf_find(first, key)), b = gguf_meta(gguf_find(part, key));
    bool differ =
        a.kind == META_STRING && b.kind == META_STRING && (a.n != b.n || memcmp(a.string, b.string, a.n) != 0);
    if (!differ) return SLUICE_OK; /* later parts need not repeat it */
    char is[ESCAPED_BYTES], was[ESCAPED_BYTES];
    return fail(f, SLUICE_FORMAT, "%s: split: architecture \"%s\", but \"%s\" in the first part", part->name,
                escape_text(is, sizeof is, b.string, b.n), escape_text(was, sizeof was, a.string, a.n));
}

/* Takes the map over. */
static sluice_status read_part(struct tensor_file *file, const char *name, struct file_map map, bool tensors,
                               int64_t *count, struct failure *f)
{
    sluice_status status = tensor_file_take(file, name, map, f);
    if (!status) status = archive_refuse_pointer(&file->map, file->name, f);
    if (!status) status = gguf_read(file, tensors, f);
    return status ? status : check_part(file, name, count, f);
}

/* ---- all parts --------------------------------------------------------------------------------------------------- */

static sluice_status read_later_part(struct archive *a, size_t i, const struct file_root *root, const char *first,
                                     struct failure *f)
{
    struct part_name p = parse_name(first);
    char name[NAME_MAX + 1], shown[ESCAPED_BYTES];
    struct file_map map;
    bool absent;
    int64_t count;
    name_part(name, first, &p, (unsigned)i + 1); /* bounded: at most ARCHIVE_MAX_SHARDS parts */
    sluice_status status = file_map_in(&map, root, name, UINT64_MAX, &absent, f);
    if (status) return status;
    if (absent)
        return fail(f, SLUICE_FORMAT, "%s: split: part %zu of %u is missing (%s)", a->files[0].name, i + 1, p.count,
                    escape_text(shown, sizeof shown, name, strlen(name)));
    status = read_part(&a->files[i], name, map, true, &count, f);
    if (!status) status = archive_add_up(a, &a->files[i], f);
    return status ? status : check_same_model(&a->files[0], &a->files[i], f);
}

/* Both are sorted by name: within a file by gguf.c, over all files by archive_join. */
static sluice_status check_joined(const struct archive *a, struct failure *f)
{
    int64_t total;
    if (a->n_files == 1) return SLUICE_OK; /* whose names gguf.c has compared */
    sluice_status status =
        read_key(&a->files[0], "split.tensors.count", (int64_t)a->n_tensors, 0, ARCHIVE_MAX_TENSORS, &total, f);
    if (status) return status;
    if ((uint64_t)total != a->n_tensors)
        return fail(f, SLUICE_FORMAT, "%s: split: split.tensors.count is %lld, but the parts have %zu tensors",
                    a->files[0].name, (long long)total, a->n_tensors);
    for (size_t i = 1; i < a->n_tensors; i++) {
        const char *name = a->tensors[i].name;
        char shown[ESCAPED_BYTES];
        if (strcmp(name, a->tensors[i - 1].name) == 0)
            return fail(f, SLUICE_FORMAT, "%s: tensor \"%s\": appears twice", a->tensors[i].file,
                        escape_text(shown, sizeof shown, name, strlen(name)));
    }
    return SLUICE_OK;
}

/* Bytes behind the tensors harm nobody. */
static sluice_status warn_about_trailing(struct archive *a, struct failure *f)
{
    char text[ESCAPED_BYTES + 64];
    for (size_t i = 0; i < a->n_files; i++) {
        if (a->files[i].trailing_bytes == 0) continue;
        snprintf(text, sizeof text, "%s: data: %llu bytes after the last tensor", a->files[i].name,
                 (unsigned long long)a->files[i].trailing_bytes);
        a->warning = memory_strndup(text, strlen(text));
        return a->warning ? SLUICE_OK : fail_memory(f, a->files[i].name);
    }
    return SLUICE_OK;
}

/* Room for the other parts; the first one moves along. */
static sluice_status make_room(struct archive *a, size_t count, struct failure *f)
{
    struct tensor_file *files = memory_calloc(count, sizeof *files);
    if (!files) return fail_memory(f, a->files[0].name);
    files[0] = a->files[0];
    memory_free(a->files);
    a->files = files;
    a->n_files = count;
    return SLUICE_OK;
}

sluice_status gguf_open(struct archive *a, const struct file_root *root, const char *name, struct file_map map,
                        unsigned flags, struct failure *f)
{
    bool tensors = flags & ARCHIVE_TENSORS;
    int64_t count = 1;
    a->format = ARCHIVE_GGUF;
    a->files = memory_calloc(1, sizeof *a->files);
    if (!a->files) {
        file_map_close(&map);
        return fail_memory(f, a->name);
    }
    a->n_files = 1;
    sluice_status status = read_part(&a->files[0], name, map, tensors, &count, f);
    if (!status) status = archive_add_up(a, &a->files[0], f);
    if (status) return status;

    struct part_name p = parse_name(name);
    if (p.no > 1) {
        char first[NAME_MAX + 1], shown[ESCAPED_BYTES];
        name_part(first, name, &p, 1);
        return fail(f, SLUICE_ARGUMENT, "%s: split: open the first part (%s)", a->files[0].name,
                    escape_text(shown, sizeof shown, first, strlen(first)));
    }
    if (count > 1 && tensors) status = make_room(a, (size_t)count, f); /* bounded: at most ARCHIVE_MAX_SHARDS */
    for (size_t i = 1; !status && i < a->n_files; i++) status = read_later_part(a, i, root, name, f);
    if (!status) status = archive_join(a, f);
    if (!status && tensors) status = check_joined(a, f);
    return status ? status : warn_about_trailing(a, f);
}

/* ---- folders ----------------------------------------------------------------------------------------------------- */

static bool has_file(const struct file_root *root, const char *name)
{
    char path[PATH_MAX + NAME_MAX + 2];
    struct stat s;
    snprintf(path, sizeof path, "%s/%s", root->folder, name);
    return stat(path, &s) == 0;
}

/* The next model of the folder in the order of names, after `after`; a split model goes by the name of its first part,
 * there or not. Reads the folder anew each time: models are few, files may be many. */
static bool next_model(const struct file_root *root, const char *after, char out[NAME_MAX + 1])
{
    DIR *folder = opendir(root->folder[0] ? root->folder : "/");
    out[0] = 0;
    for (struct dirent *d; folder && (d = readdir(folder));) {
        size_t n = strlen(d->d_name);
        if (n <= 5 || n > NAME_MAX || strcmp(d->d_name + n - 5, ".gguf") != 0 || d->d_type == DT_DIR) continue;
        char first[NAME_MAX + 1];
        struct part_name p = parse_name(d->d_name);
        name_part(first, d->d_name, &p, 1);
        if (strcmp(first, after) > 0 && (!out[0] || strcmp(first, out) < 0)) memcpy(out, first, sizeof first);
    }
    if (folder) closedir(folder);
    return out[0];
}

static sluice_status refuse_several(const struct archive *a, const struct file_root *root, char name[NAME_MAX + 1],
                                    struct failure *f)
{
    enum { MAX_SHOWN = 8 };
    char list[MAX_SHOWN * (ESCAPED_BYTES + 2) + 8] = "", next[NAME_MAX + 1];
    size_t at = 0;
    for (int i = 0; i < MAX_SHOWN && name[0]; i++) {
        char shown[ESCAPED_BYTES];
        escape_text(shown, sizeof shown, name, strlen(name));
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", shown);
        next_model(root, name, next);
        memcpy(name, next, sizeof next);
    }
    return fail(f, SLUICE_ARGUMENT, "%s: holds several GGUF models: name one of %s%s", a->name, list,
                name[0] ? ", ..." : "");
}

sluice_status gguf_open_folder(struct archive *a, const struct file_root *root, bool *found, unsigned flags,
                               struct failure *f)
{
    char name[NAME_MAX + 1], other[NAME_MAX + 1], shown[ESCAPED_BYTES];
    bool complete = has_file(root, "config.json") &&
                    (has_file(root, "model.safetensors") || has_file(root, "model.safetensors.index.json"));
    *found = !complete && next_model(root, "", name);
    if (!*found) return SLUICE_OK;
    if (next_model(root, name, other)) return refuse_several(a, root, name, f);

    struct file_map map;
    bool absent;
    escape_text(shown, sizeof shown, name, strlen(name));
    sluice_status status = file_map_in(&map, root, name, UINT64_MAX, &absent, f);
    if (status) return status;
    struct part_name p = parse_name(name);
    if (absent && p.numbered)
        return fail(f, SLUICE_FORMAT, "%s: split: part 1 of %u is missing (%s)", a->name, p.count, shown);
    if (absent) return fail(f, SLUICE_IO, "%s: cannot open: No such file or directory", shown); /* a link to nothing */
    return gguf_open(a, root, name, map, flags, f);
}
