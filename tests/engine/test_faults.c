/* What the system may do to an engine while it reads and writes files: a mapped file that becomes shorter, reads and
 * writes that fail, that are interrupted, or that give less than was asked. Each ends in the result or in one line, and
 * nothing is left behind. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "golden.h"
#include "sluice/experimental.h"
#include "tests/support/faults.h"
#include "tests/support/folder.h"
#include "tests/weights/expect.h"

static struct test_folder folder;

static atomic_int n_absorbed;

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (sluice_absorb_bus_error(info->si_addr))
        atomic_fetch_add(&n_absorbed, 1);
    else
        signal(number, SIG_DFL);
}

static void create(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    cr_assert_eq(sigaction(SIGBUS, &action, NULL), 0);
    folder_create(&folder);
}
static void destroy(void) { folder_remove(&folder); }
TestSuite(faults, .init = create, .fini = destroy);

/* ---- models ------------------------------------------------------------------------------------------------------ */

static void *read_whole(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    struct stat s;
    cr_assert(file && stat(path, &s) == 0, "%s", path);
    char *bytes = malloc((size_t)s.st_size + 1);
    cr_assert(bytes);
    *n = fread(bytes, 1, (size_t)s.st_size, file);
    cr_assert_eq(*n, (size_t)s.st_size);
    fclose(file);
    return bytes;
}

static void copy_file(const char *from, const char *name)
{
    size_t n;
    void *bytes = read_whole(from, &n);
    folder_write(&folder, name, bytes, n);
    free(bytes);
}

/* Copies what models need from a folder. */
static void copy_folder(const char *from, const char *name)
{
    char path[1024], to[512];
    DIR *d = opendir(from);
    cr_assert(d, "%s", from);
    for (struct dirent *e; (e = readdir(d));) {
        const char *end = strrchr(e->d_name, '.');
        if (e->d_name[0] == '.' || !end || strcmp(e->d_name, "expected.safetensors") == 0) continue;
        if (strcmp(end, ".json") != 0 && strcmp(end, ".safetensors") != 0) continue;
        snprintf(path, sizeof path, "%s/%s", from, e->d_name);
        snprintf(to, sizeof to, "%.80s/%.255s", name, e->d_name);
        copy_file(path, to);
    }
    closedir(d);
}

/* A golden GGUF file as m.gguf, with more bytes behind its last tensor; returns its size. */
static long copy_gguf(const char *name, size_t n_more)
{
    char path[512];
    size_t n;
    snprintf(path, sizeof path, SLUICE_TEST_DIR "/golden/gguf/%s.gguf", name);
    char *bytes = read_whole(path, &n);
    bytes = realloc(bytes, n + n_more + 1);
    cr_assert(bytes);
    memset(bytes + n, 0, n_more);
    folder_write(&folder, "m.gguf", bytes, n + n_more);
    free(bytes);
    return (long)(n + n_more);
}

static void shorten(long bytes) { cr_assert_eq(truncate(folder_path(&folder, "m.gguf"), bytes), 0); }

static void shortened_line(char line[256], long is, long was)
{
    snprintf(line, 256, "m.gguf: became shorter while it was in use: %ld bytes, expected %ld", is, was);
}

static sluice_engine *open_gguf(unsigned flags, int n_threads)
{
    sluice_engine *engine;
    sluice_error error = {0};
    sluice_engine_options o = sluice_engine_options_default();
    o.flags = flags;
    o.n_threads = n_threads;
    cr_assert_eq(sluice_engine_open(&engine, folder_path(&folder, "m.gguf"), &o, &error), SLUICE_OK, "%s", error.text);
    return engine;
}

static int n_descriptors(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *e; d && (e = readdir(d));) n += e->d_name[0] != '.';
    if (d) closedir(d);
    return n;
}

/* ---- files that become shorter ----------------------------------------------------------------------------------- */

static const int32_t prompt[] = {1, 2, 3, 4, 5, 6, 7, 8};
enum { N_PROMPT = sizeof prompt / sizeof *prompt };

static void expect_lost(sluice_session *s, sluice_status status, const char *line, size_t length)
{
    cr_expect_eq(status, SLUICE_IO);
    cr_expect_str_eq(sluice_session_error(s), line, "\n     got: %s\nexpected: %s", sluice_session_error(s), line);
    cr_expect_null(sluice_session_logits(s));
    cr_expect_eq(sluice_session_length(s), length);
}

/* `cut`: bytes that stay; negative: that go. */
static void cut_between_passes(const char *name, int n_threads, long cut, bool signals)
{
    const long was = copy_gguf(name, 0), is = cut < 0 ? was + cut : cut;
    char line[256];
    shortened_line(line, is, was);
    atomic_store(&n_absorbed, 0);
    sluice_engine *engine = open_gguf(SLUICE_OPEN_NO_REPACK, n_threads);
    sluice_session *before = new_session(engine, 32, 8), *first = new_session(engine, 32, 8);
    cr_assert_eq(sluice_session_prefill(before, prompt, N_PROMPT), SLUICE_OK, "%s", sluice_session_error(before));
    cr_assert_eq(sluice_session_decode(before, 3), SLUICE_OK);
    shorten(is);
    expect_lost(before, sluice_session_decode(before, 4), line, N_PROMPT + 1);
    expect_lost(first, sluice_session_prefill(first, prompt, N_PROMPT), line, 0);
    sluice_session *const both[] = {before, first};
    expect_lost(first, sluice_decode_many(both, (const int32_t[]){1, 2}, 2), line, 0);
    expect_lost(before, sluice_session_sync(before, prompt, 2, NULL), line, 1);
    cr_expect_eq(atomic_load(&n_absorbed) > 0, signals, "%s, %ld bytes: %d", name, is, atomic_load(&n_absorbed));
    sluice_session_free(&before);
    sluice_session_free(&first);
    sluice_engine_close(&engine);
    expect_nothing_left(folder.path);
}

Test(faults, a_file_that_becomes_shorter_ends_every_pass)
{
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        cut_between_passes("qwen3-moe-q4_k_m", n_threads, 4096, true);
        cut_between_passes("llama3-f32", n_threads, 0, true);
    }
    cut_between_passes("gpt-oss-mxfp4", 2, 20000, true);
}

/* What is missing of the last page reads as zeros: no signal tells. */
Test(faults, a_file_that_lost_its_last_byte_ends_every_pass)
{
    const long bytes = copy_gguf("llama3-f32", 0);
    cut_between_passes("llama3-f32", 2, -1, bytes % 4096 == 1);
}

Test(faults, a_file_that_is_replaced_or_removed_is_still_there)
{
    copy_gguf("llama3-f32", 0);
    sluice_engine *engine = open_gguf(SLUICE_OPEN_NO_REPACK, 2);
    sluice_session *s = new_session(engine, 32, 8);
    folder_write_text(&folder, "other", "another file");
    cr_assert_eq(rename(folder_path(&folder, "other"), folder_path(&folder, "m.gguf")), 0);
    cr_expect_eq(sluice_session_prefill(s, prompt, N_PROMPT), SLUICE_OK, "%s", sluice_session_error(s));
    folder_delete(&folder, "m.gguf");
    cr_expect_eq(sluice_session_decode(s, 1), SLUICE_OK, "%s", sluice_session_error(s));
    sluice_session_free(&s);
    sluice_engine_close(&engine);
}

Test(faults, a_packed_model_needs_its_file_no_more)
{
    copy_gguf("llama3-f32", 0);
    sluice_engine *packed = open_gguf(0, 2), *read = open_gguf(SLUICE_OPEN_READ, 2);
    shorten(0);
    sluice_session *a = new_session(packed, 32, 8), *b = new_session(read, 32, 8);
    cr_expect_eq(sluice_session_prefill(a, prompt, N_PROMPT), SLUICE_OK, "%s", sluice_session_error(a));
    cr_expect_eq(sluice_session_prefill(b, prompt, N_PROMPT), SLUICE_OK, "%s", sluice_session_error(b));
    sluice_session_free(&a);
    sluice_session_free(&b);
    sluice_engine_close(&packed);
    sluice_engine_close(&read);
}

static long shortened_to;
static void shorten_now(void) { shorten(shortened_to); }

/* Memory for the weights is the last that is mapped before they are read: everything else was read and checked. Files
 * that are cut earlier, and files that are read: a_file_cut_before_anything_is_parsed_is_refused. */
Test(faults, a_file_that_becomes_shorter_while_it_is_loaded_is_refused)
{
    static const unsigned flags[] = {0, SLUICE_OPEN_NO_REPACK};
    for (size_t i = 0; i < 4 * sizeof flags / sizeof *flags; i++) {
        const long is = i % 2 ? 4096 : 0, was = copy_gguf("qwen3-moe-q4_k_m", 0);
        char line[256];
        sluice_engine *engine = (sluice_engine *)1;
        sluice_error error = {0};
        sluice_engine_options o = sluice_engine_options_default();
        o.flags = flags[i / 4];
        o.n_threads = i % 4 < 2 ? 1 : 3;
        fault_arm(FAULT_MEMORY, 0, 0);
        cr_assert_eq(sluice_engine_open(&engine, folder_path(&folder, "m.gguf"), &o, &error), SLUICE_OK);
        sluice_engine_close(&engine);
        const unsigned last = fault_count(FAULT_MEMORY);

        engine = (sluice_engine *)1;
        shortened_line(line, is, was);
        shortened_to = is;
        fault_hook = shorten_now;
        atomic_store(&n_absorbed, 0);
        fault_arm(FAULT_MEMORY, last, FAULT_HOOK);
        sluice_status status = sluice_engine_open(&engine, folder_path(&folder, "m.gguf"), &o, &error);
        cr_expect(fault_disarm());
        cr_expect_eq(status, SLUICE_IO);
        cr_expect_str_eq(error.text, line, "\n     got: %s\nexpected: %s", error.text, line);
        cr_expect_null(engine);
        if (o.flags == 0) cr_expect_gt(atomic_load(&n_absorbed), 0);
        expect_nothing_left(folder.path);
    }
}

Test(faults, a_bus_error_elsewhere_is_not_ours)
{
    static const char here[4096];
    copy_gguf("llama3-f32", 0);
    sluice_engine *engine = open_gguf(SLUICE_OPEN_NO_REPACK, 1);
    errno = 77;
    cr_expect_not(sluice_absorb_bus_error(here));
    cr_expect_not(sluice_absorb_bus_error(NULL));
    cr_expect_not(sluice_absorb_bus_error(&engine));
    cr_expect_eq(errno, 77);
    sluice_session *s = new_session(engine, 32, 8);
    cr_expect_eq(sluice_session_prefill(s, prompt, N_PROMPT), SLUICE_OK);
    sluice_session_free(&s);
    sluice_engine_close(&engine);
}

/* ---- opening with faults ----------------------------------------------------------------------------------------- */

/* What is opened, and how. */
struct subject {
    const char *path; /* in the folder */
    unsigned flags;
};

static void make_subjects(void)
{
    copy_gguf("qwen3-moe-q4_k_m", 0);
    copy_folder(SLUICE_TEST_DIR "/golden/models/llama3-shards-bf16", "shards");
    copy_file(SLUICE_TEST_DIR "/../weights/demo/tokenizer.json", "words/tokenizer.json");
    copy_file(SLUICE_TEST_DIR "/../weights/demo/tokenizer_config.json", "words/tokenizer_config.json");
}

static const struct subject subjects[] = {
    {"m.gguf", 0},
    {"m.gguf", SLUICE_OPEN_READ},
    {"m.gguf", SLUICE_OPEN_NO_REPACK},
    {"m.gguf", SLUICE_OPEN_NO_WEIGHTS},
    {"m.gguf", SLUICE_OPEN_NO_WEIGHTS | SLUICE_OPEN_READ},
    {"shards", 0},
    {"shards", SLUICE_OPEN_READ},
    {"words", SLUICE_OPEN_TOKENIZER_ONLY},
    {"words", SLUICE_OPEN_TOKENIZER_ONLY | SLUICE_OPEN_READ},
};
enum { N_SUBJECTS = sizeof subjects / sizeof *subjects };

static sluice_status open_subject(const struct subject *s, sluice_error *error)
{
    sluice_engine *engine = (sluice_engine *)1;
    sluice_engine_options o = sluice_engine_options_default();
    o.flags = s->flags;
    o.n_threads = 2;
    *error = (sluice_error){0};
    sluice_status status = sluice_engine_open(&engine, folder_path(&folder, s->path), &o, error);
    cr_expect_eq(status != SLUICE_OK, engine == NULL);
    if (!status) sluice_engine_close(&engine);
    return status;
}

static void expect_line(const char *text, const char *part, const char *where)
{
    cr_expect(text[0] && !strchr(text, '\n') && strstr(text, part), "%s: \"%s\" without \"%s\"", where, text, part);
}

/* Lets every call of one kind fail once. `harmless`: it may also be of no importance. */
static void sweep_open(enum fault_call call, int error_number, sluice_status expected, bool harmless)
{
    for (int i = 0; i < N_SUBJECTS; i++) {
        sluice_error error;
        fault_arm(call, 0, 0);
        cr_assert_eq(open_subject(&subjects[i], &error), SLUICE_OK, "%s", error.text);
        const unsigned n = fault_count(call);
        const int descriptors = n_descriptors();
        for (unsigned nth = 1; nth <= n; nth++) {
            char where[128];
            snprintf(where, sizeof where, "%s, flags %u: %s %u of %u", subjects[i].path, subjects[i].flags,
                     fault_names[call], nth, n);
            fault_arm(call, nth, error_number);
            sluice_status status = open_subject(&subjects[i], &error);
            cr_expect(fault_disarm(), "%s", where);
            /* whether a folder without config.json is one of the hub's cache */
            const bool asks_hub = strcmp(subjects[i].path, "words") == 0 && call == FAULT_OPEN && nth == 1;
            if (status || !(harmless || asks_hub)) {
                cr_expect_eq((int)status, (int)expected, "%s: %d %s", where, (int)status, error.text);
                if (expected) expect_line(error.text, strerror(error_number), where);
            }
        }
        cr_expect_eq(n_descriptors(), descriptors, "%s", subjects[i].path);
        expect_nothing_left(folder.path);
    }
}

Test(faults, every_read_that_fails_is_one_line)
{
    make_subjects();
    sweep_open(FAULT_OPEN, EIO, SLUICE_IO, false);
    sweep_open(FAULT_OPEN, EMFILE, SLUICE_IO, false);
    sweep_open(FAULT_FSTAT, EIO, SLUICE_IO, false);
    sweep_open(FAULT_STAT, EIO, SLUICE_IO, true);
    sweep_open(FAULT_MMAP, ENODEV, SLUICE_IO, false);
    sweep_open(FAULT_MMAP, ENOMEM, SLUICE_MEMORY, false);
    sweep_open(FAULT_PREAD, EIO, SLUICE_IO, false);
}

Test(faults, interrupted_and_short_reads_are_continued)
{
    make_subjects();
    sweep_open(FAULT_OPEN, EINTR, SLUICE_OK, false);
    sweep_open(FAULT_PREAD, EINTR, SLUICE_OK, false);
    sweep_open(FAULT_CLOSE, EINTR, SLUICE_OK, false);
    sweep_open(FAULT_PREAD, FAULT_SHORT, SLUICE_OK, false);
}

static bool is_map(const struct subject *s) { return !(s->flags & SLUICE_OPEN_READ); }

/* Every file becomes shorter right after it was mapped, and, where files are read, before each read. */
Test(faults, a_file_cut_before_anything_is_parsed_is_refused)
{
    static const long cuts[] = {0, 1, 50};
    for (int i = 0; i < N_SUBJECTS; i++) {
        const enum fault_call call = is_map(&subjects[i]) ? FAULT_MMAP : FAULT_PREAD;
        sluice_error error;
        make_subjects();
        fault_arm(call, 0, 0);
        cr_assert_eq(open_subject(&subjects[i], &error), SLUICE_OK, "%s", error.text);
        const unsigned n = fault_count(call);
        cr_assert_gt(n, 0u);
        for (unsigned nth = 1; nth <= n; nth++)
            for (size_t c = 0; c < sizeof cuts / sizeof *cuts; c++) {
                make_subjects();
                fault_cut_bytes = cuts[c];
                fault_arm(call, nth, FAULT_CUT);
                sluice_status status = open_subject(&subjects[i], &error);
                cr_expect(fault_disarm());
                cr_expect_eq((int)status, (int)SLUICE_IO, "%s, flags %u, file %u: %s", subjects[i].path,
                             subjects[i].flags, nth, error.text);
                expect_line(error.text, ": became shorter while it was in use: ", subjects[i].path);
                expect_nothing_left(folder.path);
            }
    }
}

/* ---- reading into memory ----------------------------------------------------------------------------------------- */

Test(faults, a_model_that_does_not_fit_is_not_read)
{
    sluice_engine *engine = (sluice_engine *)1;
    sluice_error error = {0};
    sluice_engine_options o = sluice_engine_options_default();
    const long bytes = copy_gguf("llama3-f32", 4 << 20); /* so that the weights fit, and the file does not */
    o.flags = SLUICE_OPEN_READ;
    memory_pretend_available(2 << 20);
    fault_arm(FAULT_PREAD, 0, 0);
    cr_expect_eq(sluice_engine_open(&engine, folder_path(&folder, "m.gguf"), &o, &error), SLUICE_MEMORY);
    cr_expect_eq(fault_count(FAULT_PREAD), 1u, "only the header is read");
    char line[256];
    snprintf(line, sizeof line, "m.gguf: its files need %.1f GB to be read into memory, 0.0 GB are available",
             (double)(bytes - (1 << 20)) * 1e-9);
    cr_expect_str_eq(error.text, line);
    cr_expect_null(engine);
    memory_pretend_available(0);
}

static void replace_now(void)
{
    cr_assert_eq(rename(folder_path(&folder, "other"), folder_path(&folder, "m.gguf")), 0);
}

/* Files larger than their first piece are opened a second time. */
Test(faults, only_the_file_that_was_opened_is_read)
{
    sluice_engine *engine;
    sluice_error error = {0};
    sluice_engine_options o = sluice_engine_options_default();
    copy_gguf("llama3-f32", 4 << 20);
    o.flags = SLUICE_OPEN_READ;
    o.n_threads = 1;
    fault_arm(FAULT_OPEN, 2, ENOENT);
    cr_expect_eq(sluice_engine_open(&engine, folder_path(&folder, "m.gguf"), &o, &error), SLUICE_IO);
    cr_expect(fault_disarm());
    cr_expect_str_eq(error.text, "m.gguf: cannot read: No such file or directory");

    copy_file(folder_path(&folder, "m.gguf"), "other");
    fault_hook = replace_now;
    fault_arm(FAULT_OPEN, 2, FAULT_HOOK);
    cr_expect_eq(sluice_engine_open(&engine, folder_path(&folder, "m.gguf"), &o, &error), SLUICE_IO);
    cr_expect(fault_disarm());
    cr_expect_str_eq(error.text, "m.gguf: cannot read: Stale file handle");
}

/* ---- writing with faults ----------------------------------------------------------------------------------------- */

static size_t n_files(void)
{
    size_t n = 0;
    DIR *d = opendir(folder.path);
    cr_assert(d);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

struct writing {
    bool cut_source, create_out, fail_stat;
    bool done;
};

static void see_tensor(void *context, const sluice_tensor_report *report)
{
    struct writing *w = context;
    (void)report;
    if (w->done) return;
    w->done = true;
    if (w->cut_source) shorten(4096);
    if (w->create_out) folder_write_text(&folder, "out.gguf", "precious");
    if (w->fail_stat) fault_also(FAULT_STAT, EIO);
}

static sluice_status quantize(struct writing *w, sluice_error *error)
{
    char in[1024], out[1024];
    sluice_quantize_options o = sluice_quantize_options_default();
    o.type = "q8_0";
    o.n_threads = 2;
    if (w) o.tensor = see_tensor;
    o.context = w;
    *error = (sluice_error){0};
    snprintf(in, sizeof in, "%s/m.gguf", folder.path);
    snprintf(out, sizeof out, "%s/out.gguf", folder.path);
    return sluice_quantize(in, out, &o, NULL, error);
}

static void expect_same_file(const char *name, const void *bytes, size_t n, const char *where)
{
    size_t found_n;
    void *found = read_whole(folder_path(&folder, name), &found_n);
    cr_expect(found_n == n && memcmp(found, bytes, n) == 0, "%s", where);
    free(found);
}

/* Lets every call of one kind go wrong once: the new file is there and right, or there is no trace of it. */
static void sweep_write(enum fault_call call, int error_number, bool must_work, const void *right, size_t n_right)
{
    sluice_error error;
    fault_arm(call, 0, 0);
    cr_assert_eq(quantize(NULL, &error), SLUICE_OK, "%s", error.text);
    const unsigned n = fault_count(call);
    const int descriptors = n_descriptors();
    folder_delete(&folder, "out.gguf");
    for (unsigned nth = 1; nth <= n; nth++) {
        char where[128];
        snprintf(where, sizeof where, "%s %u of %u: %d", fault_names[call], nth, n, error_number);
        fault_arm(call, nth, error_number);
        sluice_status status = quantize(NULL, &error);
        cr_expect(fault_disarm(), "%s", where);
        if (must_work) cr_expect_eq(status, SLUICE_OK, "%s: %s", where, error.text);
        if (status == SLUICE_OK) {
            expect_same_file("out.gguf", right, n_right, where);
            folder_delete(&folder, "out.gguf");
        } else {
            cr_expect_eq(status, SLUICE_IO, "%s", where);
            expect_line(error.text, strerror(error_number), where);
        }
        cr_expect_eq(n_files(), 1u, "%s leaves something", where);
    }
    cr_expect_eq(n_descriptors(), descriptors);
    expect_nothing_left(folder.path);
}

Test(faults, every_write_that_fails_leaves_nothing)
{
    sluice_error error;
    size_t n;
    copy_gguf("qwen3-moe-f32", 0);
    cr_assert_eq(quantize(NULL, &error), SLUICE_OK, "%s", error.text);
    void *right = read_whole(folder_path(&folder, "out.gguf"), &n);
    folder_delete(&folder, "out.gguf");
    static const int errors[] = {ENOSPC, EIO};
    for (int i = 0; i < 2; i++) {
        sweep_write(FAULT_CREATE, errors[i], false, right, n);
        sweep_write(FAULT_FALLOCATE, errors[i], false, right, n);
        sweep_write(FAULT_PWRITE, errors[i], false, right, n);
        sweep_write(FAULT_FSYNC, errors[i], false, right, n);
        sweep_write(FAULT_RENAME, errors[i], false, right, n);
        sweep_write(FAULT_CLOSE, errors[i], true, right, n); /* after fsync it says nothing new */
        sweep_write(FAULT_OPEN, errors[i], false, right, n);
    }
    sweep_write(FAULT_CREATE, EINTR, true, right, n);
    sweep_write(FAULT_FALLOCATE, EINTR, true, right, n);
    sweep_write(FAULT_PWRITE, EINTR, true, right, n);
    sweep_write(FAULT_PWRITE, FAULT_SHORT, true, right, n);
    sweep_write(FAULT_FSYNC, EINTR, true, right, n);
    sweep_write(FAULT_FALLOCATE, EOPNOTSUPP, true, right, n);
    sweep_write(FAULT_RENAME, EINVAL, true, right, n); /* a second name does it as well */
    free(right);
}

/* The ways that are taken where a file system cannot do what is asked first. */
Test(faults, the_second_ways_of_writing_fail_as_cleanly)
{
    sluice_error error;
    copy_gguf("llama3-f32", 0);
    fault_arm(FAULT_FALLOCATE, 1, EOPNOTSUPP);
    fault_also(FAULT_FTRUNCATE, ENOSPC);
    cr_expect_eq(quantize(NULL, &error), SLUICE_IO);
    expect_line(error.text, strerror(ENOSPC), "ftruncate");
    cr_expect_eq(n_files(), 1u);

    fault_arm_all(FAULT_RENAME, 1, EINVAL);
    fault_also(FAULT_LINK, EIO);
    cr_expect_eq(quantize(NULL, &error), SLUICE_IO);
    expect_line(error.text, strerror(EIO), "link");
    cr_expect_eq(n_files(), 1u);

    fault_arm(FAULT_RENAME, 1, ENOSYS);
    fault_also(FAULT_LINK, EPERM);
    cr_expect_eq(quantize(NULL, &error), SLUICE_OK, "%s", error.text);
    fault_disarm();
    cr_expect_eq(n_files(), 2u);
}

/* A file of that name appears while the new one is written: it stays, whatever the file system can do. */
Test(faults, a_file_that_appears_is_never_replaced)
{
    for (int way = 0; way < 4; way++) {
        struct writing w = {.create_out = true, .fail_stat = way == 3};
        sluice_error error;
        copy_gguf("llama3-f32", 0);
        fault_arm(FAULT_RENAME, way > 0, EINVAL);
        if (way > 1) fault_also(FAULT_LINK, EPERM);
        cr_expect_eq(quantize(&w, &error), SLUICE_IO, "way %d: %s", way, error.text);
        fault_disarm();
        expect_line(error.text, way == 3 ? strerror(EIO) : "exists already, and is not overwritten", "appeared");
        expect_same_file("out.gguf", "precious", 8, "the file that appeared");
        cr_expect_eq(n_files(), 2u);
        folder_delete(&folder, "out.gguf");
    }
}

Test(faults, a_source_that_becomes_shorter_gives_no_new_file)
{
    struct writing w = {.cut_source = true};
    sluice_error error;
    char line[256];
    shortened_line(line, 4096, copy_gguf("qwen3-moe-f32", 0));
    cr_expect_eq(quantize(&w, &error), SLUICE_IO);
    cr_expect_str_eq(error.text, line);
    cr_expect_eq(n_files(), 1u);
    expect_nothing_left(folder.path);
}

/* ---- arrays ------------------------------------------------------------------------------------------------------ */

Test(faults, arrays_of_a_file_that_becomes_shorter_are_refused)
{
    sluice_arrays *arrays;
    sluice_error error = {0};
    float *values = NULL;
    size_t shape[3], n_dims = 3;
    copy_file(SLUICE_TEST_DIR "/golden/models/llama3-hub-bf16/expected.safetensors", "e.safetensors");
    cr_assert_eq(sluice_arrays_open(&arrays, folder_path(&folder, "e.safetensors"), &error), SLUICE_OK, "%s",
                 error.text);
    cr_assert_eq(sluice_arrays_get_float(arrays, "logits", &values, shape, &n_dims, &error), SLUICE_OK, "%s",
                 error.text);
    free(values);
    cr_assert_eq(truncate(folder_path(&folder, "e.safetensors"), 4096), 0);
    n_dims = 3;
    cr_expect_eq(sluice_arrays_get_float(arrays, "logits", &values, shape, &n_dims, &error), SLUICE_IO);
    expect_line(error.text, "e.safetensors: became shorter while it was in use: 4096 bytes", "arrays");
    cr_expect_null(values);
    sluice_arrays_close(&arrays);
}
