/* The GGUF writer: what it writes the reader reads, a file appears whole or not at all, and nothing is overwritten. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/folder.h"
#include "tests/support/gguf.h"
#include "tests/weights/expect.h"
#include "weights/gguf_write.h"

static struct test_folder folder;
static char path[600], part[620];
static struct failure f;

static void create(void)
{
    folder_create(&folder);
    snprintf(path, sizeof path, "%s/out.gguf", folder.path);
    snprintf(part, sizeof part, "%s.part", path);
}
static void destroy(void) { folder_remove(&folder); }
TestSuite(gguf_write, .init = create, .fini = destroy);

static bool exists(const char *name)
{
    struct stat s;
    return lstat(name, &s) == 0;
}

static struct gguf_writer *created(void)
{
    struct gguf_writer *w = NULL;
    cr_assert_eq((int)gguf_writer_create(&w, path, &f), (int)SLUICE_OK, "%s", f.text);
    cr_assert_not_null(w);
    return w;
}

static void begin(struct gguf_writer *w) { cr_assert_eq((int)gguf_begin_data(w, &f), (int)SLUICE_OK, "%s", f.text); }

static void write_all(struct gguf_writer *w, size_t tensor, const void *data, size_t n)
{
    cr_assert_eq((int)gguf_write_data(w, tensor, 0, data, n, &f), (int)SLUICE_OK, "%s", f.text);
}

static struct archive *committed(struct gguf_writer **w)
{
    cr_assert_eq((int)gguf_writer_commit(*w, &f), (int)SLUICE_OK, "%s", f.text);
    uint64_t bytes = gguf_file_bytes(*w);
    gguf_writer_close(w);
    struct stat s;
    cr_assert_eq(stat(path, &s), 0);
    cr_expect_eq((uint64_t)s.st_size, bytes);
    cr_expect_not(exists(part));
    return expect_opened(path, ARCHIVE_TENSORS | ARCHIVE_CONFIG);
}

/* Expects `status` and the sentence "PATH<TAIL>". */
static void expect_sentence(sluice_status got, sluice_status status, const char *tail)
{
    char sentence[2000];
    snprintf(sentence, sizeof sentence, "%s%s", path, tail);
    cr_expect_eq((int)got, (int)status);
    cr_expect_eq((int)f.status, (int)status);
    cr_expect_str_eq(f.text, sentence, "\n     got: %s\nexpected: %s", f.text, sentence);
}

/* ---- round trips ------------------------------------------------------------------------------------------------- */

Test(gguf_write, every_kind_of_value_comes_back)
{
    static const char *const texts[] = {"first", "", "with \0 and \xff"};
    static const size_t lengths[] = {5, 0, 12};
    struct gguf_writer *w = created();
    gguf_put_string(w, "s", "text\0more", 9);
    gguf_put_bool(w, "yes", true);
    gguf_put_bool(w, "no", false);
    gguf_put_u32(w, "u32", UINT32_MAX);
    gguf_put_f32(w, "f32", -1.5f);
    gguf_put_f64(w, "f64", 1e300);
    gguf_put_bools(w, "bools", (const bool[]){true, false, true}, 3);
    gguf_put_i32s(w, "i32s", (const int32_t[]){INT32_MIN, -1, INT32_MAX}, 3);
    gguf_put_f32s(w, "f32s", (const float[]){0.5f, -2}, 2);
    gguf_put_strings(w, "texts", texts, lengths, 3);
    gguf_put_i32s(w, "none", NULL, 0);
    begin(w);
    struct archive *a = committed(&w);
    cr_expect_null(archive_warning(a));

    static const char *const order[] = {"s",     "yes",  "no",   "u32",   "f32", "f64",
                                        "bools", "i32s", "f32s", "texts", "none"};
    struct meta m;
    for (size_t i = 0; i < 11; i++) cr_expect_str_eq(archive_gguf_key(a, i, &m), order[i]);
    cr_expect_null(archive_gguf_key(a, 11, &m));
    m = archive_meta(a, DOCUMENT_GGUF, "s");
    cr_expect(m.kind == META_STRING && m.n == 9 && memcmp(m.string, "text\0more", 10) == 0);
    cr_expect(archive_meta(a, DOCUMENT_GGUF, "yes").boolean);
    cr_expect_not(archive_meta(a, DOCUMENT_GGUF, "no").boolean);
    cr_expect_eq(archive_meta(a, DOCUMENT_GGUF, "u32").integer, UINT32_MAX);
    cr_expect_str_eq(archive_meta(a, DOCUMENT_GGUF, "u32").type, "uint32");
    cr_expect_eq(archive_meta(a, DOCUMENT_GGUF, "f32").number, -1.5);
    cr_expect_str_eq(archive_meta(a, DOCUMENT_GGUF, "f32").type, "float32");
    cr_expect_eq(archive_meta(a, DOCUMENT_GGUF, "f64").number, 1e300);
    m = archive_meta(a, DOCUMENT_GGUF, "bools");
    cr_expect_str_eq(m.type, "array of bool");
    cr_expect(meta_element(m, 0).boolean && !meta_element(m, 1).boolean && meta_element(m, 2).boolean);
    m = archive_meta(a, DOCUMENT_GGUF, "i32s");
    cr_expect_str_eq(m.type, "array of int32");
    cr_expect(meta_element(m, 0).integer == INT32_MIN && meta_element(m, 2).integer == INT32_MAX);
    m = archive_meta(a, DOCUMENT_GGUF, "f32s");
    cr_expect(m.n == 2 && meta_element(m, 0).number == 0.5 && meta_element(m, 1).number == -2);
    m = archive_meta(a, DOCUMENT_GGUF, "texts");
    cr_assert_eq(m.n, 3u);
    for (size_t i = 0; i < 3; i++) {
        struct meta e = meta_element(m, i);
        cr_expect(e.n == lengths[i] && memcmp(e.string, texts[i], e.n) == 0 && e.string[e.n] == 0);
    }
    m = archive_meta(a, DOCUMENT_GGUF, "none");
    cr_expect(m.kind == META_ARRAY && m.n == 0);
    archive_close(&a);
}

static const struct {
    const char *name;
    enum dtype type;
    int n_dims;
    uint64_t shape[4], bytes;
} tensors[] = {
    {"f32", DTYPE_F32, 1, {3}, 12},
    {"bf16", DTYPE_BF16, 2, {3, 5}, 30},
    {"q4_k", DTYPE_Q4_K, 3, {2, 3, 512}, 1728},
    {"q8_0", DTYPE_Q8_0, 4, {2, 1, 2, 32}, 136},
    {"mxfp4", DTYPE_MXFP4, 2, {1, 64}, 34},
    {"i64", DTYPE_I64, 1, {1}, 8},
};
enum { N_TENSORS = sizeof tensors / sizeof *tensors };

static void add_all(struct gguf_writer *w)
{
    for (int i = 0; i < N_TENSORS; i++)
        gguf_add_tensor(w, tensors[i].name, tensors[i].type, tensors[i].n_dims, tensors[i].shape);
}

static unsigned char byte_of(int tensor, uint64_t at) { return (unsigned char)(at * 7 + (uint64_t)tensor * 31 + 1); }

Test(gguf_write, tensors_come_back)
{
    struct gguf_writer *w = created();
    gguf_put_string(w, "general.architecture", "x", 1);
    add_all(w);
    begin(w);
    unsigned char bytes[2000];
    for (int i = N_TENSORS - 1; i >= 0; i--) { /* in another order, the later half first */
        for (uint64_t k = 0; k < tensors[i].bytes; k++) bytes[k] = byte_of(i, k);
        size_t n = (size_t)tensors[i].bytes, half = n / 2;
        cr_expect_eq((int)gguf_write_data(w, (size_t)i, half, bytes + half, n - half, &f), (int)SLUICE_OK);
        cr_expect_eq((int)gguf_write_data(w, (size_t)i, 0, bytes, half, &f), (int)SLUICE_OK);
    }
    struct archive *a = committed(&w);
    cr_expect_null(archive_warning(a));
    cr_expect_eq(archive_n_tensors(a), (size_t)N_TENSORS);
    for (int i = 0; i < N_TENSORS; i++) {
        const struct tensor_view *t = archive_find(a, tensors[i].name);
        cr_assert_not_null(t, "%s", tensors[i].name);
        cr_expect(t->dtype == tensors[i].type && t->n_dims == tensors[i].n_dims && t->bytes == tensors[i].bytes);
        cr_expect_eq(memcmp(t->shape, tensors[i].shape, (size_t)t->n_dims * sizeof *t->shape), 0);
        cr_expect_eq((uintptr_t)t->data % 32, 0u);
        for (uint64_t k = 0; k < t->bytes; k++) cr_assert_eq(t->data[k], byte_of(i, k), "%s", t->name);
    }
    archive_close(&a);
}

Test(gguf_write, every_byte_of_a_small_file)
{
    struct gguf_writer *w = created();
    gguf_put_u32(w, "a.b", 7);
    gguf_add_tensor(w, "t", DTYPE_F16, 2, (const uint64_t[]){3, 1});
    gguf_add_tensor(w, "u", DTYPE_F32, 1, (const uint64_t[]){1});
    begin(w);
    write_all(w, 0, "abcdef", 6);
    write_all(w, 1, "wxyz", 4);
    struct archive *a = committed(&w);
    archive_close(&a);
    struct gguf_draft d = {0};
    draft_start(&d, 3, 2, 1);
    draft_key_number(&d, "a.b", 4, 7, 4);
    draft_tensor(&d, "t", 2, (const uint64_t[]){1, 3}, 1, 0);
    draft_tensor(&d, "u", 1, (const uint64_t[]){1}, 0, 32);
    draft_align(&d, 32);
    draft_bytes(&d, "abcdef", 6);
    draft_align(&d, 32);
    draft_bytes(&d, "wxyz", 4);
    draft_align(&d, 32);
    unsigned char bytes[1000];
    FILE *file = fopen(path, "rb");
    size_t n = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    cr_expect_eq(n, d.n);
    cr_expect_eq(memcmp(bytes, d.data, n < d.n ? n : d.n), 0);
    draft_free(&d);
}

Test(gguf_write, a_key_given_again_keeps_its_place)
{
    struct gguf_writer *w = created();
    gguf_put_u32(w, "b", 1);
    gguf_put_string(w, "a", "old", 3);
    gguf_put_u32(w, "c", 3);
    gguf_put_string(w, "a", "new", 3);
    gguf_put_f32(w, "b", 0.5f);
    gguf_put_bool(w, "b", true);
    begin(w);
    struct archive *a = committed(&w);
    struct meta m;
    cr_expect_str_eq(archive_gguf_key(a, 0, &m), "b");
    cr_expect(m.kind == META_BOOL && m.boolean);
    cr_expect_str_eq(archive_gguf_key(a, 1, &m), "a");
    cr_expect_str_eq(m.string, "new");
    cr_expect_str_eq(archive_gguf_key(a, 2, &m), "c");
    cr_expect_null(archive_gguf_key(a, 3, &m));
    archive_close(&a);
}

Test(gguf_write, values_of_another_file_keep_their_type)
{
    static const size_t widths[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    struct gguf_draft d = {0};
    uint64_t n_keys = 3;
    for (int round = 0; round < 2; round++) { /* the first one counts the keys */
        draft_start(&d, 2, 0, n_keys);
        n_keys = 3;
        draft_key_number(&d, "general.alignment", 4, 64, 4);
        draft_key_number(&d, "split.count", 2, 1, 2);
        draft_array(&d, "texts", 8, 2);
        draft_text(&d, "one");
        draft_text(&d, "");
        for (uint32_t type = 0; type < 13; type++) {
            char name[40];
            if (!widths[type]) continue;
            snprintf(name, sizeof name, "value %u", type);
            draft_key_number(&d, name, type, type == 7 ? 1 : UINT64_MAX - 5, widths[type]);
            snprintf(name, sizeof name, "array %u", type);
            draft_array(&d, name, type, 2);
            draft_number(&d, type == 7 ? 0 : 77, widths[type]);
            draft_number(&d, 1, widths[type]);
            n_keys += 2;
        }
    }
    draft_save(&d, &folder, "in.gguf");
    draft_free(&d);
    struct archive *from = expect_opened(folder_path(&folder, "in.gguf"), ARCHIVE_CONFIG);
    struct gguf_writer *w = created();
    struct meta m, copy;
    const char *key;
    for (size_t i = 0; (key = archive_gguf_key(from, i, &m)); i++) gguf_put_meta(w, key, m);
    begin(w);
    struct archive *to = committed(&w);
    size_t n = 0;
    for (size_t i = 0; (key = archive_gguf_key(from, i, &m)); i++) {
        copy = archive_meta(to, DOCUMENT_GGUF, key);
        if (i < 2) {
            cr_expect_eq((int)copy.kind, (int)META_ABSENT, "%s describes the other file", key);
            continue;
        }
        n++;
        cr_assert_str_eq(copy.type, m.type, "%s", key);
        cr_expect(copy.integer == m.integer && copy.boolean == m.boolean && copy.n == m.n);
        cr_expect_eq(memcmp(&copy.number, &m.number, sizeof m.number), 0, "%s, which may be a NaN", key);
        for (size_t k = 0; k < m.n; k++) {
            struct meta e = meta_element(m, k), c = meta_element(copy, k);
            cr_expect(e.integer == c.integer && e.number == c.number && e.boolean == c.boolean, "%s", key);
            if (e.kind == META_STRING) cr_expect_str_eq(e.string, c.string);
        }
    }
    cr_expect_eq(n, 23u);
    archive_close(&from);
    archive_close(&to);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

enum { N_THREADS = 8, N_PIECES = 64, PIECE = 4096 + 12 };

struct job {
    struct gguf_writer *w;
    int thread;
    sluice_status status;
};

static void *write_pieces(void *argument)
{
    struct job *job = argument;
    struct failure failure;
    unsigned char bytes[PIECE];
    for (int i = job->thread; i < N_PIECES && !job->status; i += N_THREADS) {
        memset(bytes, i + 1, sizeof bytes);
        job->status = gguf_write_data(job->w, (size_t)i % 2, (uint64_t)i / 2 * PIECE, bytes, PIECE, &failure);
    }
    return NULL;
}

Test(gguf_write, threads_write_at_the_same_time)
{
    struct gguf_writer *w = created();
    for (int i = 0; i < 2; i++) gguf_add_tensor(w, i ? "b" : "a", DTYPE_I8, 2, (const uint64_t[]){N_PIECES / 2, PIECE});
    begin(w);
    pthread_t threads[N_THREADS];
    struct job jobs[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) {
        jobs[i] = (struct job){w, i, SLUICE_OK};
        cr_assert_eq(pthread_create(&threads[i], NULL, write_pieces, &jobs[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++) {
        pthread_join(threads[i], NULL);
        cr_expect_eq((int)jobs[i].status, (int)SLUICE_OK);
    }
    struct archive *a = committed(&w);
    for (int i = 0; i < N_PIECES; i++) {
        const unsigned char *piece = archive_tensor(a, (size_t)i % 2)->data + (size_t)i / 2 * PIECE;
        for (int k = 0; k < PIECE; k++) cr_assert_eq(piece[k], (unsigned char)(i + 1));
    }
    archive_close(&a);
}

/* ---- a file appears whole or not at all -------------------------------------------------------------------------- */

Test(gguf_write, nothing_is_left_without_commit)
{
    struct gguf_writer *w = created();
    cr_expect(exists(part) && !exists(path));
    gguf_writer_close(&w);
    cr_expect_null(w);
    cr_expect(!exists(part) && !exists(path));
    gguf_writer_close(&w);

    w = created();
    add_all(w);
    begin(w);
    cr_expect(exists(part) && !exists(path));
    gguf_writer_close(&w);
    cr_expect(!exists(part) && !exists(path));
}

Test(gguf_write, no_file_is_overwritten)
{
    struct gguf_writer *w = NULL;
    folder_write_text(&folder, "out.gguf", "precious");
    expect_sentence(gguf_writer_create(&w, path, &f), SLUICE_IO, ": exists already, and is not overwritten");
    cr_expect_null(w);
    cr_expect_not(exists(part));
    folder_delete(&folder, "out.gguf");
    folder_link(&folder, "out.gguf", "nowhere"); /* a link to nothing is something */
    expect_sentence(gguf_writer_create(&w, path, &f), SLUICE_IO, ": exists already, and is not overwritten");
    folder_delete(&folder, "out.gguf");

    folder_write_text(&folder, "out.gguf.part", "of another run");
    expect_sentence(gguf_writer_create(&w, path, &f), SLUICE_IO,
                    ".part: exists already: another run is writing it, or was killed (then delete it)");
    cr_expect_null(w);
    cr_expect(exists(part), "it belongs to somebody else");
    folder_delete(&folder, "out.gguf.part");

    w = created();
    begin(w);
    folder_write_text(&folder, "out.gguf", "precious");
    expect_sentence(gguf_writer_commit(w, &f), SLUICE_IO, ": exists already, and is not overwritten");
    gguf_writer_close(&w);
    cr_expect_not(exists(part));
    char text[20] = "";
    FILE *file = fopen(path, "rb");
    cr_expect_eq(fread(text, 1, sizeof text, file), 8u);
    cr_expect_str_eq(text, "precious");
    fclose(file);
}

Test(gguf_write, a_folder_that_is_not_there)
{
    struct gguf_writer *w = NULL;
    snprintf(path, sizeof path, "%s/absent/out.gguf", folder.path);
    expect_sentence(gguf_writer_create(&w, path, &f), SLUICE_IO, ".part: cannot create: No such file or directory");
    cr_expect_null(w);
}

Test(gguf_write, a_path_without_a_folder)
{
    cr_assert_eq(chdir(folder.path), 0);
    struct gguf_writer *w = NULL;
    cr_assert_eq((int)gguf_writer_create(&w, "plain.gguf", &f), (int)SLUICE_OK);
    begin(w);
    cr_expect_eq((int)gguf_writer_commit(w, &f), (int)SLUICE_OK);
    gguf_writer_close(&w);
    cr_expect(exists("plain.gguf") && !exists("plain.gguf.part"));
}

/* A limit on the size of files stands for a full disk. */
static void limit_file_size(rlim_t bytes)
{
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){bytes, RLIM_INFINITY}), 0);
}

Test(gguf_write, a_disk_too_small_is_noticed_at_once)
{
    struct gguf_writer *w = created();
    gguf_add_tensor(w, "a", DTYPE_I8, 1, (const uint64_t[]){65536});
    limit_file_size(65536);
    expect_sentence(gguf_begin_data(w, &f), SLUICE_IO, ".part: cannot reserve 65600 bytes: File too large");
    limit_file_size(RLIM_INFINITY);
    gguf_writer_close(&w);
    cr_expect(!exists(part) && !exists(path));

    w = created();
    gguf_add_tensor(w, "a", DTYPE_I8, 2, (const uint64_t[]){(uint64_t)1 << 31, (uint64_t)1 << 31});
    cr_expect_eq((int)gguf_begin_data(w, &f), (int)SLUICE_IO);
    cr_expect_not_null(strstr(f.text, ".part: cannot reserve 4611686018427388000 bytes: "), "%s", f.text);
    gguf_writer_close(&w);
}

Test(gguf_write, a_failed_write_is_no_file)
{
    struct gguf_writer *w = created();
    static const char data[65536];
    gguf_add_tensor(w, "a", DTYPE_I8, 1, (const uint64_t[]){sizeof data});
    begin(w);
    limit_file_size(32768); /* the system writes the first half, then refuses */
    expect_sentence(gguf_write_data(w, 0, 0, data, sizeof data, &f), SLUICE_IO, ".part: cannot write: File too large");
    limit_file_size(RLIM_INFINITY);
    expect_sentence(gguf_writer_commit(w, &f), SLUICE_ARGUMENT, ": tensor \"a\": 0 bytes written, expected 65536");
    gguf_writer_close(&w);
    cr_expect(!exists(part) && !exists(path));
}

/* ---- what is refused --------------------------------------------------------------------------------------------- */

/* begin_data and commit report the first failure of `w`; the tail of the sentence is given. */
static void refused(struct gguf_writer *w, sluice_status status, const char *tail)
{
    gguf_put_u32(w, "\n", 1); /* a later failure changes nothing */
    expect_sentence(gguf_begin_data(w, &f), status, tail);
    expect_sentence(gguf_writer_commit(w, &f), status, tail);
    gguf_writer_close(&w);
    cr_expect(!exists(part) && !exists(path));
}

Test(gguf_write, keys_that_no_reader_takes)
{
    struct gguf_writer *w = created();
    gguf_put_u32(w, "", 1);
    refused(w, SLUICE_ARGUMENT, ": key \"\": name must be 1 to 65535 printable bytes");
    w = created();
    gguf_put_string(w, "a\x1b", "", 0);
    refused(w, SLUICE_ARGUMENT, ": key \"a\\x1b\": name must be 1 to 65535 printable bytes");

    enum { MANY = 16777217 };
    char *big = calloc(MANY, 1);
    w = created();
    gguf_put_string(w, "a", big, MANY);
    refused(w, SLUICE_UNSUPPORTED, ": key \"a\": string length 16777217 exceeds the limit 16777216");
    w = created();
    gguf_put_strings(w, "a", (const char *const[]){"", big}, (const size_t[]){0, MANY}, 2);
    refused(w, SLUICE_UNSUPPORTED, ": key \"a\": string length 16777217 exceeds the limit 16777216");
    w = created();
    gguf_put_bools(w, "a", (const bool *)big, MANY);
    refused(w, SLUICE_UNSUPPORTED, ": key \"a\": array count 16777217 exceeds the limit 16777216");
    free(big);

    w = created();
    gguf_put_meta(w, "a", (struct meta){.kind = META_INT, .integer = 1}); /* as of a JSON document */
    refused(w, SLUICE_ARGUMENT, ": key \"a\": the value is not that of a key of a GGUF file");
    w = created();
    for (int i = 0; i < 65537; i++) {
        char name[20];
        snprintf(name, sizeof name, "%d", i);
        gguf_put_bool(w, name, true);
    }
    expect_sentence(gguf_begin_data(w, &f), SLUICE_UNSUPPORTED, ": key count 65537 exceeds the limit 65536");
    gguf_writer_close(&w);
}

Test(gguf_write, tensors_that_no_reader_takes)
{
    static const struct {
        const char *name;
        enum dtype type;
        int n_dims;
        uint64_t shape[4];
        const char *tail;
    } rows[] = {
        {"", DTYPE_F32, 1, {1}, ": tensor \"\": name must be 1 to 63 printable bytes"},
        {"a\n", DTYPE_F32, 1, {1}, ": tensor \"a\\x0a\": name must be 1 to 63 printable bytes"},
        {"0123456789012345678901234567890123456789012345678901234567890123",
         DTYPE_F32,
         1,
         {1},
         ": tensor \"0123456789012345678901234567890123456789012345678901234567890123\": name must be 1 to 63 "
         "printable bytes"},
        {"a", DTYPE_F32, 0, {1}, ": tensor \"a\": 0 dimensions (1..4)"},
        {"a", DTYPE_F32, 5, {1}, ": tensor \"a\": 5 dimensions (1..4)"},
        {"a", DTYPE_Q4_K, 2, {1, 128}, ": tensor \"a\": rows of 128 cannot be stored as Q4_K"},
        {"a", DTYPE_U8, 2, {1, 128}, ": tensor \"a\": rows of 128 cannot be stored as U8"},
        {"a", DTYPE_F32, 2, {0, 8}, ": tensor \"a\": rows of 8 cannot be stored as F32"},
        {"a",
         DTYPE_F32,
         2,
         {(uint64_t)1 << 40, (uint64_t)1 << 40},
         ": tensor \"a\": rows of 1099511627776 cannot be stored as F32"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct gguf_writer *w = created();
        gguf_add_tensor(w, rows[i].name, rows[i].type, rows[i].n_dims, rows[i].shape);
        refused(w, SLUICE_UNSUPPORTED, rows[i].tail);
    }
    struct gguf_writer *w = created();
    for (int i = 0; i < 3; i++)
        gguf_add_tensor(w, (const char *const[]){"b", "a", "b"}[i], DTYPE_F32, 1, rows[0].shape);
    expect_sentence(gguf_begin_data(w, &f), SLUICE_ARGUMENT, ": tensor \"b\": is added twice");
    gguf_writer_close(&w);
}

Test(gguf_write, calls_out_of_order)
{
    struct gguf_writer *w = created();
    gguf_add_tensor(w, "a", DTYPE_I8, 1, (const uint64_t[]){8});
    expect_sentence(gguf_write_data(w, 0, 0, "", 1, &f), SLUICE_ARGUMENT, ": no tensor 0 to write to");
    expect_sentence(gguf_writer_commit(w, &f), SLUICE_ARGUMENT, ": there is nothing to commit");
    begin(w);
    expect_sentence(gguf_begin_data(w, &f), SLUICE_ARGUMENT, ": the data have begun already");
    expect_sentence(gguf_write_data(w, 1, 0, "", 1, &f), SLUICE_ARGUMENT, ": no tensor 1 to write to");
    expect_sentence(gguf_write_data(w, 0, 7, "ab", 2, &f), SLUICE_ARGUMENT,
                    ": tensor \"a\": 2 bytes at 7 do not fit in its 8");
    expect_sentence(gguf_write_data(w, 0, UINT64_MAX, "ab", 2, &f), SLUICE_ARGUMENT,
                    ": tensor \"a\": 2 bytes at 18446744073709551615 do not fit in its 8");
    write_all(w, 0, "1234567", 7);
    expect_sentence(gguf_writer_commit(w, &f), SLUICE_ARGUMENT, ": tensor \"a\": 7 bytes written, expected 8");
    cr_expect_eq((int)gguf_write_data(w, 0, 7, "8", 1, &f), (int)SLUICE_OK);
    gguf_put_bool(w, "late", true);
    expect_sentence(gguf_writer_commit(w, &f), SLUICE_ARGUMENT, ": key \"late\": comes after the data have begun");
    gguf_writer_close(&w);
    cr_expect(!exists(part) && !exists(path));
}

/* ---- allocation failures ----------------------------------------------------------------------------------------- */

/* One whole run; the first failure ends it. */
static sluice_status run(void)
{
    struct gguf_writer *w;
    sluice_status status = gguf_writer_create(&w, path, &f);
    if (status) return status;
    gguf_put_string(w, "a", "text", 4);
    gguf_put_strings(w, "b", (const char *const[]){"c", "d"}, (const size_t[]){1, 1}, 2);
    gguf_put_string(w, "a", "again", 5);
    gguf_add_tensor(w, "t", DTYPE_I8, 1, (const uint64_t[]){8});
    status = gguf_begin_data(w, &f);
    if (!status) status = gguf_write_data(w, 0, 0, "12345678", 8, &f);
    if (!status) status = gguf_writer_commit(w, &f);
    gguf_writer_close(&w);
    return status;
}

Test(gguf_write, every_allocation_may_fail)
{
    uint64_t before = memory_request_count();
    cr_assert_eq((int)run(), (int)SLUICE_OK, "%s", f.text);
    folder_delete(&folder, "out.gguf");
    uint64_t n = memory_request_count() - before;
    cr_expect_gt(n, 10u);
    for (uint64_t i = 1; i <= n; i++) {
        memory_fail_after(i);
        cr_expect_eq((int)run(), (int)SLUICE_MEMORY, "request %llu: %s", (unsigned long long)i, f.text);
        cr_expect(strstr(f.text, ": not enough memory"), "%s", f.text);
        cr_expect(!exists(part) && !exists(path));
    }
    memory_fail_after(0);
    cr_expect_eq((int)run(), (int)SLUICE_OK, "%s", f.text);
    expect_nothing_left(folder.path);
}
