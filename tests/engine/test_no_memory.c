/* Memory runs out: every request of every step of a model's life fails once. Each failure ends in SLUICE_MEMORY with
 * a sentence and leaves nothing behind (no block, no map, no open file, no file on the disk), and then the same call
 * gives the same bits as if nothing had happened. See sweep.h for how many requests; those of jansson and PCRE2 count
 * as well. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "folder.h"
#include "sluice/experimental.h"
#include "sweep.h"

/* ---- models ------------------------------------------------------------------------------------------------------ */

typedef char model_name[64];

/* One of each kind of layer, router, type and file. */
static model_name some[] = {"models/qwen3-moe-hub-bf16",  "models/deepseek-v3-fp8-hub",    "models/gpt-oss-mxfp4-hub",
                            "models/qwen3-next-hub-bf16", "models/lfm2-moe-hub-bf16",      "models/gemma3-shards-v5",
                            "gguf/qwen3-moe-q4_k_m.gguf", "gguf/deepseek-v2-lite-f16.gguf", "gguf/gemma-f32.gguf"};
enum { MOST_MODELS = 256 };

static int is_model(const struct dirent *d)
{
    const char *dot = strrchr(d->d_name, '.');
    return dot ? strcmp(dot, ".gguf") == 0 : strchr(d->d_name, '-') != NULL;
}

static int list_folder(const char *name, const char *before, int (*is_wanted)(const struct dirent *), model_name *out,
                       int n)
{
    char path[512];
    struct dirent **entries = NULL;
    snprintf(path, sizeof path, "%s/golden/%s", SLUICE_TEST_DIR, name);
    const int count = scandir(path, &entries, is_wanted, alphasort);
    const char *only = getenv("SLUICE_SWEEP_ONLY");
    for (int i = 0; i < count; i++) {
        const char *entry = entries[i]->d_name;
        if (n < MOST_MODELS && strstr(entry, only ? only : ""))
            snprintf(out[n++], sizeof *out, "%s%.50s", before, entry);
        free(entries[i]);
    }
    free(entries);
    return n;
}

/* Byte-level and SentencePiece-style, normalizers, patterns, a tiktoken.model, GGUF files. */
static model_name some_tokenizers[] = {"behaviors.tokenizer.json", "bert.tokenizer.json", "gemma.tokenizer.json",
                                       "kimi.tokenizer.json",      "moonshot.tiktoken.model", "gguf/llama-spm.gguf",
                                       "gguf/gpt-2.gguf"};

static int is_tokenizer(const struct dirent *d)
{
    static const char *const ends[] = {".tokenizer.json.xz", ".tiktoken.model.xz", ".gguf.xz"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const size_t n = strlen(d->d_name), m = strlen(ends[i]);
        if (n > m && strcmp(d->d_name + n - m, ends[i]) == 0) return 1;
    }
    return 0;
}

static struct criterion_test_params tokenizers(void)
{
    static model_name all[MOST_MODELS];
    if (!sweep_is_full())
        return cr_make_param_array(model_name, some_tokenizers, sizeof some_tokenizers / sizeof *some_tokenizers);
    int n = list_folder("tokenizers", "", is_tokenizer, all, 0);
    n = list_folder("tokenizers/gguf", "gguf/", is_tokenizer, all, n);
    for (int i = 0; i < n; i++) *strstr(all[i], ".xz") = 0;
    return cr_make_param_array(model_name, all, (size_t)n);
}

static struct criterion_test_params models(void)
{
    static model_name all[MOST_MODELS];
    if (!sweep_is_full()) return cr_make_param_array(model_name, some, sizeof some / sizeof *some);
    int n = list_folder("models", "models/", is_model, all, 0);
    n = list_folder("gguf", "gguf/", is_model, all, n);
    return cr_make_param_array(model_name, all, (size_t)n);
}

/* ---- a model's life ---------------------------------------------------------------------------------------------- */

struct world {
    struct test_folder folder; /* a copy of the model with a tokenizer, and what is written */
    char path[600], out[600];
    const char *load_as;
    unsigned flags;
    sluice_engine *engine;
    sluice_session *session, *other;
    sluice_text_stream *stream;
    sluice_arrays *arrays;
    int32_t ids[64];
    size_t n_ids;
    char text[1024];
    size_t n_text;
    uint64_t seen;
};

static void digest(uint64_t *d, const void *data, size_t n)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++) *d = (*d ^ p[i]) * UINT64_C(1099511628211);
}

static sluice_status session_status(const struct world *w, sluice_status status, sluice_error *error)
{
    if (status) snprintf(error->text, sizeof error->text, "%s", sluice_session_error(w->session));
    return status;
}

static sluice_status open_model(struct world *w, sluice_error *error)
{
    sluice_engine_options o = sluice_engine_options_default();
    const sluice_session_options session = {.n_context = 48, .n_chunk = 16};
    o.n_threads = 1; /* threads ask for nothing, and waiting for each other they only take time */
    o.flags = w->flags;
    o.load_as = w->load_as;
    o.session = &session;
    return sluice_engine_open(&w->engine, w->path, &o, error);
}

static void close_model(struct world *w) { sluice_engine_close(&w->engine); }

static sluice_status create_session(struct world *w, sluice_error *error)
{
    const sluice_session_options o = {.n_context = 48, .n_chunk = 16};
    return sluice_session_create(&w->session, w->engine, &o, error);
}

static void free_session(struct world *w) { sluice_session_free(&w->session); }

/* Everything that a session does once it is there: asks for no memory. */
static sluice_status use_session(struct world *w, sluice_error *error)
{
    sluice_model_info info;
    sluice_sampling how = sluice_sampling_default();
    int32_t ids[20];
    sluice_engine_get_info(w->engine, &info);
    how.temperature = 1;
    how.top_p = 0.9f;
    how.repetition_penalty = 1.1f;
    for (int i = 0; i < 20; i++) ids[i] = (7 * i + 3) % info.vocab_size;
    sluice_status s = sluice_session_rewind(w->session, 0);
    if (!s) s = sluice_session_prefill(w->session, ids, 20);
    for (int i = 0; i < 4 && !s; i++) {
        how.top_k = i % 2 * 10;
        s = sluice_session_decode(w->session, sluice_sample(w->session, &how));
    }
    if (!s) s = sluice_session_rewind(w->session, 13);
    if (!s) s = sluice_session_sync(w->session, ids, 18, NULL);
    if (!s) s = sluice_decode_many(&w->session, ids + 18, 1);
    return session_status(w, s, error);
}

static uint64_t digest_session(struct world *w)
{
    sluice_model_info info;
    sluice_error error = {0};
    uint64_t d = 0;
    sluice_engine_get_info(w->engine, &info);
    cr_assert_eq(use_session(w, &error), SLUICE_OK, "%s", error.text);
    digest(&d, sluice_session_logits(w->session), (size_t)info.vocab_size * sizeof(float));
    digest(&d, sluice_session_tokens(w->session), sluice_session_length(w->session) * sizeof(int32_t));
    return d;
}

static uint64_t digest_model(struct world *w)
{
    sluice_error error = {0};
    sluice_model_info info;
    char line[1024];
    sluice_engine_get_info(w->engine, &info);
    cr_assert_eq(create_session(w, &error), SLUICE_OK, "%s", error.text);
    uint64_t d = digest_session(w);
    free_session(w);
    digest(&d, &info.n_parameters, sizeof info.n_parameters);
    for (int l = 0; sluice_engine_get_layer(w->engine, l, line, sizeof line); l++) digest(&d, line, strlen(line));
    return d;
}

static void see(void *context, sluice_observation what, int layer, size_t first, size_t n_rows, size_t width,
                const void *data)
{
    struct world *w = context;
    (void)what, (void)layer, (void)first;
    digest(&w->seen, data, n_rows * width * 4);
}

static sluice_status observe(struct world *w, sluice_error *error)
{
    const sluice_observer o = {1u << SLUICE_SEE_HIDDEN | 1u << SLUICE_SEE_LOGITS, see, w};
    return session_status(w, sluice_session_observe(w->session, &o), error);
}

static uint64_t digest_observed(struct world *w)
{
    const int32_t ids[3] = {1, 2, 3};
    w->seen = 0;
    cr_assert_eq(sluice_session_rewind(w->session, 0), SLUICE_OK);
    cr_assert_eq(sluice_session_prefill(w->session, ids, 3), SLUICE_OK);
    return w->seen;
}

static void stop_observing(struct world *w) { sluice_session_observe(w->session, NULL); }

/* The session is copied while it is there, and then both go on alike. */
static sluice_status copy_session(struct world *w, sluice_error *error)
{
    const sluice_session_options o = {.n_context = 40, .n_chunk = 8};
    sluice_status s = sluice_session_create(&w->other, w->engine, &o, error);
    if (!s) s = sluice_session_copy(w->other, w->session);
    if (s) sluice_session_free(&w->other);
    return s;
}

static uint64_t digest_copy(struct world *w)
{
    uint64_t d = 0;
    sluice_model_info info;
    sluice_engine_get_info(w->engine, &info);
    cr_assert_eq(sluice_session_decode(w->other, 5), SLUICE_OK);
    digest(&d, sluice_session_logits(w->other), (size_t)info.vocab_size * sizeof(float));
    return d;
}

static void free_copy(struct world *w) { sluice_session_free(&w->other); }

static const char prompt[] = "The_cat sat  on\tthe mat, <s>and THE dog\xc3\xa9!";

static sluice_status tokenize(struct world *w, sluice_error *error)
{
    return sluice_tokenize(w->engine, prompt, sizeof prompt - 1, SLUICE_TEXT_SPECIAL, w->ids, 64, &w->n_ids, error);
}

static uint64_t digest_ids(struct world *w)
{
    uint64_t d = 0;
    cr_assert(w->n_ids > 8 && w->n_ids <= 64, "%zu ids", w->n_ids);
    digest(&d, w->ids, w->n_ids * sizeof *w->ids);
    return d;
}

static sluice_status detokenize(struct world *w, sluice_error *error)
{
    return sluice_detokenize(w->engine, w->ids, w->n_ids, SLUICE_TEXT_SPECIAL, w->text, sizeof w->text, &w->n_text,
                             error);
}

static uint64_t digest_text(struct world *w)
{
    uint64_t d = 0;
    digest(&d, w->text, w->n_text < sizeof w->text ? w->n_text : sizeof w->text);
    return d;
}

static sluice_status stream(struct world *w, sluice_error *error)
{
    static const char *const stops[] = {"dog", "no such text", ""};
    const char *piece = "";
    size_t n = 0;
    bool stopped = false;
    w->n_text = 0;
    sluice_status s = sluice_text_stream_create(&w->stream, w->engine, 0, stops, 3, error);
    const bool created = !s;
    for (size_t i = 0; i <= w->n_ids && !s; i++) {
        s = i < w->n_ids ? sluice_text_stream_push(w->stream, w->ids[i], &piece, &n, &stopped)
                         : sluice_text_stream_finish(w->stream, &piece, &n);
        if (!s && w->n_text + n <= sizeof w->text) {
            memcpy(w->text + w->n_text, piece, n);
            w->n_text += n;
        }
    }
    if (s && created) snprintf(error->text, sizeof error->text, "%s", sluice_status_text(s)); /* a stream has no text */
    sluice_text_stream_free(&w->stream);
    return s;
}

static sluice_status quantize(struct world *w, sluice_error *error)
{
    sluice_quantize_options o = sluice_quantize_options_default();
    static const sluice_tensor_rule rule = {"ffn_down", "q6_k"};
    static const char text[] = "the cat sat on the mat and the dog sat on the cat";
    o.type = "q4_k_m";
    o.n_threads = 1;
    o.rules = &rule;
    o.n_rules = strstr(w->path, "gemma") ? 0 : 1;
    o.n_context = 16;
    if (sluice_has_tokenizer(w->engine)) {
        o.calibration_text = text;
        o.calibration_length = sizeof text - 1;
    }
    return sluice_quantize(w->path, w->out, &o, NULL, error);
}

static uint64_t digest_file(struct world *w)
{
    uint64_t d = 0;
    unsigned char bytes[65536];
    FILE *file = fopen(w->out, "rb");
    cr_assert_not_null(file);
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, file)) > 0;) digest(&d, bytes, n);
    fclose(file);
    return d;
}

static void remove_file(struct world *w) { remove(w->out); }

static const char *arrays_path(const struct world *w)
{
    static char path[640];
    snprintf(path, sizeof path, "%s/model.safetensors", w->path);
    return path;
}

static bool has_arrays(const struct world *w) { return access(arrays_path(w), R_OK) == 0; }

static sluice_status open_arrays(struct world *w, sluice_error *error)
{
    return sluice_arrays_open(&w->arrays, arrays_path(w), error);
}

static void close_arrays(struct world *w) { sluice_arrays_close(&w->arrays); }

static uint64_t digest_nothing(struct world *w)
{
    (void)w;
    return 0;
}

static void undo_nothing(struct world *w) { (void)w; }

static uint64_t digest_tokenizer(struct world *w)
{
    sluice_error error = {0};
    cr_assert_eq(tokenize(w, &error), SLUICE_OK, "%s", error.text);
    return digest_ids(w);
}

struct step {
    const char *name;
    sluice_status (*run)(struct world *w, sluice_error *error);
    uint64_t (*digest)(struct world *w); /* of what it has brought about; may ask for memory itself */
    void (*undo)(struct world *w);
    size_t few; /* points of an ordinary run */
    bool asks_for_nothing, needs_tokenizer, needs_one_file;
};

static const struct step life[] = {
    {"create a session", create_session, digest_session, free_session, 4, false, false, false},
    {"prefill, decode, sample", use_session, digest_session, undo_nothing, 1, true, false, false},
    {"copy", copy_session, digest_copy, free_copy, 4, false, false, false},
    {"observe", observe, digest_observed, stop_observing, 4, false, false, false},
    {"tokenize", tokenize, digest_ids, undo_nothing, 10, false, true, false},
    {"detokenize", detokenize, digest_text, undo_nothing, 4, false, true, false},
    {"stream", stream, digest_text, undo_nothing, 6, false, true, false},
    {"quantize", quantize, digest_file, remove_file, 12, false, false, false},
    {"open arrays", open_arrays, digest_nothing, close_arrays, 4, false, false, true},
};
static const struct step opening = {"open", open_model, digest_model, close_model, 40, false, false, false};

/* ---- the sweep --------------------------------------------------------------------------------------------------- */

static size_t count_entries(const struct test_folder *folder)
{
    DIR *d = opendir(folder->path);
    size_t n = 0;
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n;
}

static bool says_memory(const char *text) { return strstr(text, "memory") != NULL; }

/* Runs the step unhindered, then with each chosen request failing and once more unhindered. It stays done. */
static void sweep_step(struct sweep *sweep, struct world *w, const struct step *step, const char *name)
{
    sluice_error error = {0};
    const uint64_t held = memory_held_count(), before = memory_request_count();
    const size_t files = sweep_count_files(), entries = count_entries(&w->folder);
    cr_assert_eq(step->run(w, &error), SLUICE_OK, "%s: %s: %s", sweep->title, name, error.text);
    const uint64_t n_requests = memory_request_count() - before, expected = step->digest(w);
    if (step->asks_for_nothing) {
        cr_assert_eq(n_requests, 0, "%s: %s: asks for memory", sweep->title, name);
        return;
    }
    cr_assert_gt(n_requests, 0, "%s: %s: asks for no memory, so nothing was tried", sweep->title, name);
    size_t n = 0;
    uint64_t *points = sweep_choose(sweep, n_requests, step->few, &n);
    for (size_t i = 0; i < n; i++) {
        step->undo(w);
        cr_assert_eq(memory_held_count(), held, "%s: %s: undone, yet %lld blocks more", sweep->title, name,
                     (long long)(memory_held_count() - held));
        error = (sluice_error){0};
        memory_fail_after(points[i]);
        const sluice_status status = step->run(w, &error);
        memory_fail_after(0);
        cr_assert_eq((int)status, (int)SLUICE_MEMORY, "%s: %s: request %llu of %llu (seed %llu): status %d: %s",
                     sweep->title, name, (unsigned long long)points[i], (unsigned long long)n_requests,
                     (unsigned long long)sweep->seed, (int)status, error.text);
        cr_assert(says_memory(error.text), "%s: %s: request %llu: \"%s\"", sweep->title, name,
                  (unsigned long long)points[i], error.text);
        cr_assert_eq(memory_held_count(), held, "%s: %s: request %llu: %lld blocks are lost", sweep->title, name,
                     (unsigned long long)points[i], (long long)(memory_held_count() - held));
        cr_assert_eq(sweep_count_files(), files, "%s: %s: request %llu: a file stays open", sweep->title, name,
                     (unsigned long long)points[i]);
        cr_assert_eq(count_entries(&w->folder), entries, "%s: %s: request %llu: a file is left", sweep->title, name,
                     (unsigned long long)points[i]);
        cr_assert_eq(step->run(w, &error), SLUICE_OK, "%s: %s: after request %llu: %s", sweep->title, name,
                     (unsigned long long)points[i], error.text);
        cr_assert_eq(step->digest(w), expected, "%s: %s: after request %llu: another result", sweep->title, name,
                     (unsigned long long)points[i]);
        sweep_show(sweep, name, n_requests, i, n);
    }
    free(points);
}

/* ---- a copy of a model with a tokenizer -------------------------------------------------------------------------- */

/* Pieces that the golden models' vocabularies have room for, and something of each part of a tokenizer. */
static const char tokenizer[] =
    "{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"Lowercase\"}, "
    "{\"type\": \"Replace\", \"pattern\": {\"String\": \"_\"}, \"content\": \" \"}]}, "
    "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", "
    "\"pattern\": {\"Regex\": \" ?\\\\p{L}+|\\\\s+(?!\\\\S)|[^\\\\s\\\\p{L}]+\"}, \"behavior\": \"Isolated\", "
    "\"invert\": false}, {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}]}, "
    "\"added_tokens\": [{\"id\": 30, \"content\": \"<s>\", \"special\": true}], "
    "\"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"unk_token\": \"?\", "
    "\"merges\": [\"t h\", [\"th\", \"e\"]], \"vocab\": {\"\\u0120\": 0, \"?\": 27, \"th\": 28, \"the\": 29";

static void write_tokenizer(const struct test_folder *folder)
{
    char json[sizeof tokenizer + 26 * 12];
    size_t n = sizeof tokenizer - 1;
    memcpy(json, tokenizer, n);
    for (char c = 'a'; c <= 'z'; c++) n += (size_t)snprintf(json + n, sizeof json - n, ", \"%c\": %d", c, c - 'a' + 1);
    snprintf(json + n, sizeof json - n, "}}}");
    folder_write_text(folder, "in/tokenizer.json", json);
    folder_write_text(folder, "in/tokenizer_config.json",
                      "{\"bos_token\": \"<s>\", \"chat_template\": \"{{ x }}\", \"model_max_length\": 1e30}");
    folder_write_text(folder, "in/README.md", "---\nlicense: mit\n---\n");
}

static void copy_file(const char *from, const struct test_folder *folder, const char *name)
{
    FILE *file = fopen(from, "rb");
    cr_assert_not_null(file, "%s", from);
    fseek(file, 0, SEEK_END);
    const size_t n = (size_t)ftell(file);
    char *bytes = malloc(n + 1);
    rewind(file);
    cr_assert(bytes && fread(bytes, 1, n, file) == n);
    fclose(file);
    folder_write(folder, name, bytes, n);
    free(bytes);
}

static void prepare(struct world *w, const char *model)
{
    char from[512], name[320], path[800];
    *w = (struct world){0};
    folder_create(&w->folder);
    snprintf(w->out, sizeof w->out, "%s/out.gguf", w->folder.path);
    snprintf(from, sizeof from, "%s/golden/%s", SLUICE_TEST_DIR, model);
    if (strstr(model, ".gguf")) {
        snprintf(w->path, sizeof w->path, "%s", from);
        return;
    }
    snprintf(w->path, sizeof w->path, "%s/in", w->folder.path);
    write_tokenizer(&w->folder);
    DIR *d = opendir(from);
    cr_assert_not_null(d, "%s", from);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.' || strcmp(e->d_name, "expected.safetensors") == 0) continue;
        snprintf(name, sizeof name, "in/%s", e->d_name);
        snprintf(path, sizeof path, "%s/%s", from, e->d_name);
        copy_file(path, &w->folder, name);
    }
    closedir(d);
}

static bool is_mapped(const char *path)
{
    char line[2000];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && !found && fgets(line, sizeof line, maps)) found = strstr(line, path) != NULL;
    if (maps) fclose(maps);
    return found;
}

int __lsan_do_recoverable_leak_check(void) __attribute__((weak)); /* there in sanitizer builds only */

/* Everything is closed: nothing may be left. */
static void finish(struct world *w, uint64_t held)
{
    cr_expect_eq(memory_held_count(), held);
    cr_expect(!is_mapped(w->path), "%s is still mapped", w->path);
    folder_remove(&w->folder);
    if (__lsan_do_recoverable_leak_check) cr_expect_eq(__lsan_do_recoverable_leak_check(), 0, "memory leaks");
}

ParameterizedTestParameters(no_memory, every_request_of_a_models_life_may_fail) { return models(); }
ParameterizedTest(model_name *model, no_memory, every_request_of_a_models_life_may_fail)
{
    struct world w;
    struct sweep sweep = sweep_begin(*model);
    json_set_alloc_funcs(memory_alloc, memory_free); /* the trees of jansson count too */
    prepare(&w, *model);
    const uint64_t held = memory_held_count();
    static const struct {
        const char *name, *load_as;
        unsigned flags;
        size_t few;
    } ways[] = {{"open as q8_0", "q8_0", 0, 8},
                {"open without repacking", NULL, SLUICE_OPEN_NO_REPACK, 8},
                {"open without weights", NULL, SLUICE_OPEN_NO_WEIGHTS, 4},
                {"open", NULL, 0, 40}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct step open = opening;
        open.few = ways[i].few;
        w.load_as = ways[i].load_as;
        w.flags = ways[i].flags;
        if (w.flags & SLUICE_OPEN_NO_WEIGHTS) open.digest = digest_nothing;
        if (w.engine) close_model(&w);
        sweep_step(&sweep, &w, &open, ways[i].name);
    }
    const bool has_tokenizer = sluice_has_tokenizer(w.engine);
    cr_expect(has_tokenizer || strstr(*model, ".gguf"));
    for (size_t i = 0; i < sizeof life / sizeof *life; i++) {
        const struct step *step = &life[i];
        if (step->needs_tokenizer && !has_tokenizer) continue;
        if (step->needs_one_file && !has_arrays(&w)) continue;
        sweep_step(&sweep, &w, step, step->name);
    }
    close_arrays(&w);
    stop_observing(&w);
    free_copy(&w);
    free_session(&w);
    close_model(&w);
    finish(&w, held);
}

/* ---- tokenizers alone -------------------------------------------------------------------------------------------- */

static void unpack(const struct test_folder *folder, const char *name, const char *as)
{
    char command[1024];
    folder_write_text(folder, as, "");
    snprintf(command, sizeof command, "xz -dc '%s/golden/tokenizers/%s.xz' > '%s'", SLUICE_TEST_DIR, name,
             folder_path(folder, as));
    cr_assert_eq(system(command), 0, "%s", command);
}

static void prepare_tokenizer(struct world *w, const char *name)
{
    char config[80];
    *w = (struct world){.flags = SLUICE_OPEN_TOKENIZER_ONLY};
    folder_create(&w->folder);
    const bool is_file = strstr(name, ".gguf"), is_tiktoken = strstr(name, ".tiktoken");
    unpack(&w->folder, name, is_file ? "in/v.gguf" : is_tiktoken ? "in/tiktoken.model" : "in/tokenizer.json");
    snprintf(config, sizeof config, "%.*s.tokenizer_config.json", (int)strcspn(name, "."), name);
    if (is_tiktoken) unpack(&w->folder, config, "in/tokenizer_config.json");
    snprintf(w->path, sizeof w->path, "%s/in%s", w->folder.path, is_file ? "/v.gguf" : "");
}

ParameterizedTestParameters(no_memory, every_request_of_a_tokenizers_life_may_fail) { return tokenizers(); }
ParameterizedTest(model_name *name, no_memory, every_request_of_a_tokenizers_life_may_fail)
{
    struct world w;
    struct sweep sweep = sweep_begin(*name);
    struct step open = opening;
    open.digest = digest_tokenizer;
    json_set_alloc_funcs(memory_alloc, memory_free);
    prepare_tokenizer(&w, *name);
    const uint64_t held = memory_held_count();
    sweep_step(&sweep, &w, &open, open.name);
    for (size_t i = 0; i < sizeof life / sizeof *life; i++)
        if (life[i].needs_tokenizer) sweep_step(&sweep, &w, &life[i], life[i].name);
    close_model(&w);
    finish(&w, held);
}
