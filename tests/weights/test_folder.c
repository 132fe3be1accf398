/* Model folders: plain, sharded, in a hub cache; every way that an index or a configuration may lie; and every
 * allocation failing once. The numbers C01..C10 are rows of a catalogue of known attacks and mistakes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/memory.h"
#include "tests/support/folder.h"
#include "tests/weights/expect.h"
#include "weights/archive_parts.h"

static struct test_folder folder;
static void create(void) { folder_create(&folder); }
static void destroy(void) { folder_remove(&folder); }
TestSuite(folder, .init = create, .fini = destroy);

enum { ALL = ARCHIVE_TENSORS | ARCHIVE_CONFIG };
#define INDEX   "model.safetensors.index.json"
#define SHARD_1 "model-00001-of-00002.safetensors"
#define SHARD_2 "model-00002-of-00002.safetensors"
#define GOOD_INDEX                                       \
    "{\"metadata\":{\"total_size\":24},\"weight_map\":{" \
    "\"c\":\"" SHARD_2 "\",\"a\":\"" SHARD_1 "\",\"b\":\"" SHARD_2 "\"}}"

static const struct test_tensor tensor_a = {"a", "F32", 1, {2}, "aaaaaaaa"};
static const struct test_tensor tensors_bc[] = {{"b", "F32", 1, {2}, "bbbbbbbb"}, {"c", "F32", 1, {2}, "cccccccc"}};

static void write_sharded(void)
{
    folder_write_text(&folder, "config.json", "{\"hidden_size\":8}");
    folder_write_tensors(&folder, SHARD_1, &tensor_a, 1);
    folder_write_tensors(&folder, SHARD_2, tensors_bc, 2);
    folder_write_text(&folder, INDEX, GOOD_INDEX);
}

static void write_single(void)
{
    folder_write_text(&folder, "config.json", "{\"hidden_size\":8}");
    folder_write_tensors(&folder, "model.safetensors", tensors_bc, 2);
}

/* Sentences about a file that cannot be read begin with the folder. */
static void refused_in(const char *path, unsigned flags, sluice_status status, const char *sentence)
{
    char whole[6000];
    snprintf(whole, sizeof whole, "%s%s%s", status == SLUICE_IO ? path : "", status == SLUICE_IO ? ": " : "", sentence);
    expect_refused(path, flags, status, whole);
}

static void refused(unsigned flags, sluice_status status, const char *sentence)
{
    refused_in(folder.path, flags, status, sentence);
}

static void index_refused(const char *index, const char *reason)
{
    char sentence[5000];
    snprintf(sentence, sizeof sentence, "%s: %s", INDEX, reason);
    folder_write_text(&folder, INDEX, index);
    refused(ALL, SLUICE_FORMAT, sentence);
}

static void config_refused(const char *config, const char *sentence)
{
    folder_write_text(&folder, "config.json", config);
    refused(ARCHIVE_CONFIG, SLUICE_FORMAT, sentence);
}

/* ---- good folders ------------------------------------------------------------------------------------------------ */

Test(folder, one_file_with_everything)
{
    write_single();
    folder_write_text(&folder, "generation_config.json", "{\"eos_token_id\":[1,2]}");
    folder_write_text(&folder, "tokenizer_config.json", "{\"chat_template\":\"x\"}");
    folder_write_text(&folder, "tokenizer.json", "not read here");
    folder_write_text(&folder, "tiktoken.model", "nor this");
    folder_write_text(&folder, "README.md", "");
    struct archive *a = expect_opened(folder.path, ALL);
    cr_expect_str_eq(archive_name(a), strrchr(folder.path, '/') + 1);
    cr_expect_eq(archive_n_tensors(a), 2u);
    cr_expect_eq(memcmp(archive_find(a, "c")->data, "cccccccc", 8), 0);
    cr_expect_str_eq(archive_find(a, "c")->file, "model.safetensors");
    cr_expect_eq(archive_meta(a, DOCUMENT_CONFIG, "hidden_size").integer, 8);
    cr_expect_eq(archive_meta(a, DOCUMENT_GENERATION_CONFIG, "eos_token_id").n, 2u);
    cr_expect_str_eq(archive_meta(a, DOCUMENT_TOKENIZER_CONFIG, "chat_template").string, "x");
    size_t n;
    const char *text = archive_text(a, TEXT_TOKENIZER, &n);
    cr_expect(n == 13 && memcmp(text, "not read here", 13) == 0);
    text = archive_text(a, TEXT_TIKTOKEN, &n);
    cr_expect(n == 8 && memcmp(text, "nor this", 8) == 0);
    cr_expect_null(archive_text(a, TEXT_CHAT_TEMPLATE, &n));
    text = archive_text(a, TEXT_TOKENIZER_CONFIG, &n);
    cr_expect(n == 21 && memcmp(text, "{\"chat_template\":\"x\"}", 21) == 0);
    cr_expect_not_null(archive_text(a, TEXT_CARD, &n), "empty is not absent");
    cr_expect_eq(n, 0u);
    archive_close(&a);
}

Test(folder, shards_join_into_one_sorted_directory)
{
    write_sharded();
    struct archive *a = expect_opened(folder.path, ALL);
    cr_expect_null(archive_warning(a));
    cr_expect_eq(archive_n_tensors(a), 3u);
    for (size_t i = 0; i < 3; i++) {
        const char name[] = {(char)('a' + i), 0};
        const struct tensor_view *t = archive_find(a, name);
        cr_assert_eq(t, archive_tensor(a, i));
        cr_expect_str_eq(t->file, i == 0 ? SHARD_1 : SHARD_2);
        cr_expect(t->bytes == 8 && t->data[7] == (unsigned char)name[0]);
    }
    cr_expect_str_eq(archive_tensor_metadata(a, "format"), "pt");
    archive_close(&a);
}

Test(folder, a_name_is_found_for_every_way_to_write_the_path)
{
    write_single();
    const char *base = strrchr(folder.path, '/') + 1;
    char path[600];
    snprintf(path, sizeof path, "%s///", folder.path);
    struct archive *a = expect_opened(path, ALL);
    cr_expect_str_eq(archive_name(a), base);
    archive_close(&a);
    cr_assert_eq(chdir(folder.path), 0);
    a = expect_opened(".", ALL);
    cr_expect_str_eq(archive_name(a), base);
    archive_close(&a);
    a = expect_opened("model.safetensors", ARCHIVE_TENSORS);
    cr_expect_str_eq(archive_name(a), "model.safetensors");
    archive_close(&a);
}

Test(folder, optional_files_may_be_absent)
{
    folder_write_text(&folder, "config.json", "{}");
    struct archive *a = expect_opened(folder.path, ARCHIVE_CONFIG);
    size_t n;
    cr_expect_null(archive_text(a, TEXT_TOKENIZER, &n));
    cr_expect_null(archive_text(a, TEXT_CARD, &n));
    cr_expect_eq((int)archive_meta(a, DOCUMENT_TOKENIZER_CONFIG, "x").kind, (int)META_ABSENT);
    cr_expect_eq(archive_n_tensors(a), 0u);
    cr_expect_null(archive_find(a, "a"));
    cr_expect_null(archive_tensor_metadata(a, "format"));
    archive_close(&a);
    folder_delete(&folder, "config.json");
    a = expect_opened(folder.path, 0);
    cr_expect_eq((int)archive_meta(a, DOCUMENT_CONFIG, "x").kind, (int)META_ABSENT);
    archive_close(&a);
}

Test(folder, tensors_that_are_not_asked_for_are_not_opened)
{
    folder_write_text(&folder, "config.json", "{}");
    folder_write_text(&folder, "model.safetensors", "broken");
    struct archive *a = expect_opened(folder.path, ARCHIVE_CONFIG);
    archive_close(&a);
    refused(ALL, SLUICE_FORMAT, "model.safetensors: header: file too short (6 bytes, need 8)");
}

/* ---- the hub cache ----------------------------------------------------------------------------------------------- */

#define MODEL    "hub/models--org--tiny"
#define SNAPSHOT MODEL "/snapshots/0123abcd"

static void write_hub(void)
{
    folder_write_text(&folder, MODEL "/blobs/1111", "{\"hidden_size\":8}");
    folder_write_tensors(&folder, MODEL "/blobs/2222", &tensor_a, 1);
    folder_write_tensors(&folder, MODEL "/blobs/3333", tensors_bc, 2);
    folder_write_text(&folder, MODEL "/blobs/4444", GOOD_INDEX);
    folder_write_text(&folder, MODEL "/refs/main", "0123abcd");
    folder_link(&folder, SNAPSHOT "/config.json", "../../blobs/1111");
    folder_link(&folder, SNAPSHOT "/" SHARD_1, "../../blobs/2222");
    folder_link(&folder, SNAPSHOT "/" SHARD_2, "../../blobs/3333");
    folder_link(&folder, SNAPSHOT "/" INDEX, "../../blobs/4444");
}

Test(folder, a_snapshot_of_a_hub_cache_opens)
{
    write_hub();
    folder_link(&folder, "tiny", SNAPSHOT);
    folder_link(&folder, "elsewhere/again", "../tiny");
    static const char *const paths[] = {MODEL, SNAPSHOT, "tiny", "elsewhere/again", SNAPSHOT "/../0123abcd/"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct archive *a = expect_opened(folder_path(&folder, paths[i]), ALL);
        cr_expect_eq(archive_n_tensors(a), 3u);
        cr_expect_str_eq(archive_find(a, "b")->file, SHARD_2, "names of links, not of blobs");
        archive_close(&a);
    }
    struct archive *a = expect_opened(folder_path(&folder, "tiny"), ALL);
    cr_expect_str_eq(archive_name(a), "tiny");
    archive_close(&a);
    a = expect_opened(folder_path(&folder, SNAPSHOT "/" SHARD_1), ARCHIVE_TENSORS);
    cr_expect_eq(archive_n_tensors(a), 1u);
    archive_close(&a);
}

Test(folder, links_of_a_hub_cache_stay_in_their_model)
{
    write_hub();
    folder_write_text(&folder, "hub/models--org--tiny-secret/blobs/5555", "{}");
    folder_write_text(&folder, "secret.json", "{}");
    static const char *const targets[] = {"../../../models--org--tiny-secret/blobs/5555", "../../../../secret.json",
                                          "../../blobs", "/dev/null", "/etc/passwd"};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        folder_delete(&folder, SNAPSHOT "/config.json");
        folder_link(&folder, SNAPSHOT "/config.json", targets[i]);
        expect_refused(folder_path(&folder, SNAPSHOT), ALL, SLUICE_FORMAT,
                       i == 2 ? "config.json: not a regular file"
                              : "config.json: is a link that leads out of the model's folder");
    }
    /* A blob that was never downloaded is absent; a link to itself is a system's error. */
    folder_delete(&folder, SNAPSHOT "/config.json");
    folder_link(&folder, SNAPSHOT "/config.json", "../../blobs/6666");
    refused_in(folder_path(&folder, SNAPSHOT), ALL, SLUICE_IO, "config.json: cannot open: No such file or directory");
    folder_delete(&folder, SNAPSHOT "/config.json");
    folder_link(&folder, SNAPSHOT "/config.json", "config.json");
    refused_in(folder_path(&folder, SNAPSHOT), ALL, SLUICE_IO,
               "config.json: cannot open: Too many levels of symbolic links");
    folder_write_text(&folder, MODEL "/refs/main", "../../../elsewhere");
    refused_in(folder_path(&folder, MODEL), ALL, SLUICE_IO, "config.json: cannot open: No such file or directory");
    folder_delete(&folder, MODEL "/blobs/3333");
    folder_delete(&folder, SNAPSHOT "/config.json");
    folder_link(&folder, SNAPSHOT "/config.json", "../../blobs/1111");
    expect_refused(folder_path(&folder, SNAPSHOT), ALL, SLUICE_FORMAT, INDEX ": shard \"" SHARD_2 "\" not found");
}

Test(folder, outside_a_hub_cache_links_stay_in_the_folder)
{
    folder_write_text(&folder, "model/real.json", "{}");
    folder_link(&folder, "model/config.json", "real.json");
    struct archive *a = expect_opened(folder_path(&folder, "model"), ARCHIVE_CONFIG);
    archive_close(&a);
    folder_write_text(&folder, "outside.json", "{}");
    folder_write_text(&folder, "model-two/config.json", "{}");
    static const char *const targets[] = {"../outside.json", "../model-two/config.json", ".."};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        folder_delete(&folder, "model/config.json");
        folder_link(&folder, "model/config.json", targets[i]);
        expect_refused(folder_path(&folder, "model"), ARCHIVE_CONFIG, SLUICE_FORMAT,
                       "config.json: is a link that leads out of the model's folder");
    }
}

/* ---- paths that do not open -------------------------------------------------------------------------------------- */

Test(folder, a_path_that_does_not_open_is_shown)
{
    char sentence[2000];
    const char *path = folder_path(&folder, "absent");
    snprintf(sentence, sizeof sentence, "%s: cannot open: No such file or directory", path);
    expect_refused(path, ALL, SLUICE_IO, sentence);
    expect_refused("", ALL, SLUICE_IO, ": cannot open: No such file or directory");
    expect_refused("/a\x1b[2J\n\"\\\xc3\xa9", ALL, SLUICE_IO,
                   "/a\\x1b[2J\\x0a\\x22\\x5c\\xc3\\xa9: cannot open: No such file or directory");
    char longer[301] = "/";
    memset(longer + 1, 'x', 100);
    memset(longer + 101, '/', 1);
    memset(longer + 102, 'y', 198);
    snprintf(sentence, sizeof sentence, "%s: cannot open: No such file or directory", longer);
    expect_refused(longer, ALL, SLUICE_IO, sentence);
}

Test(folder, special_files_are_refused_without_waiting, .timeout = 120)
{
    char sentence[2000];
    const char *fifo = folder_path(&folder, "fifo");
    cr_assert_eq(mkfifo(fifo, 0600), 0);
    snprintf(sentence, sizeof sentence, "%s: not a regular file", fifo);
    expect_refused(fifo, ARCHIVE_TENSORS, SLUICE_FORMAT, sentence);
    expect_refused("/dev/null", ARCHIVE_TENSORS, SLUICE_FORMAT, "/dev/null: not a regular file");
}

Test(folder, files_without_permission)
{
    if (geteuid() == 0) {
        destroy(); /* a skipped test ends here */
        cr_skip_test("root may read everything");
    }
    write_single();
    chmod(folder_path(&folder, "config.json"), 0);
    refused(ALL, SLUICE_IO, "config.json: cannot open: Permission denied");
}

Test(folder, needed_files_that_are_absent)
{
    refused(ALL, SLUICE_IO, "config.json: cannot open: No such file or directory");
    folder_write_text(&folder, "config.json", "{}");
    refused(ALL, SLUICE_IO,
            "model.safetensors: cannot open: No such file or directory (nor model.safetensors.index.json)");
    folder_write_text(&folder, "pytorch_model.bin", "");
    refused(ALL, SLUICE_UNSUPPORTED, "pytorch_model.bin: is a PyTorch file: convert it to safetensors");
    folder_delete(&folder, "pytorch_model.bin");
    folder_write_text(&folder, "z.pth", "");
    refused(ALL, SLUICE_UNSUPPORTED, "z.pth: is a PyTorch file: convert it to safetensors");
    folder_delete(&folder, "config.json");
    refused(ALL, SLUICE_UNSUPPORTED, "z.pth: is a PyTorch file: convert it to safetensors");
}

/* ---- C01..C07: the index ----------------------------------------------------------------------------------------- */

Test(folder, c01_weight_map_missing)
{
    write_sharded();
    static const char *const indices[] = {"{}",
                                          "{\"weight_map\":[]}",
                                          "{\"weight_map\":{}}",
                                          "{\"weight_map\":null}",
                                          "{\"metadata\":{}}",
                                          "[]",
                                          "7",
                                          "{\"a\":{\"weight_map\":{\"a\":\"b\"}}}",
                                          "{\"weight_map\":[{\"a\":\"b\"}]}"};
    for (size_t i = 0; i < sizeof indices / sizeof *indices; i++)
        index_refused(indices[i], "\"weight_map\" is missing");
    index_refused("", "JSON error at byte 0: the text ends too early");
    index_refused("{\"weight_map\":{\"a\":\"b\"}", "JSON error at byte 23: the text ends too early");
    index_refused("{\"weight_map\":{\"a\":\"b\"},\"weight_map\":{\"a\":\"b\"}}", "\"weight_map\" appears twice");
    index_refused("{\"weight_map\":{\"a\":7}}", "tensor \"a\": the shard's name must be a string");
    index_refused("{\"weight_map\":{\"a\":{\"b\":\"c\"}}}", "tensor \"a\": the shard's name must be a string");
    index_refused("{\"weight_map\":{\"\":\"m\"}}", "tensor name \"\": expected text without NUL");
    index_refused("{\"weight_map\":{\"a\\u0000\":\"m\"}}", "tensor name \"a\\x5cu0000\": expected text without NUL");
    index_refused("{\"weight_map\":{\"a\":NaN}}", "NaN and Infinity are not JSON (byte 19)");
}

Test(folder, c02_shard_absent)
{
    write_sharded();
    index_refused("{\"weight_map\":{\"a\":\"" SHARD_1 "\",\"b\":\"model-00002.safetensors\"}}",
                  "shard \"model-00002.safetensors\" not found");
    folder_delete(&folder, SHARD_1);
    index_refused(GOOD_INDEX, "shard \"" SHARD_1 "\" not found");
}

Test(folder, c03_shard_names_that_are_paths)
{
    write_sharded();
    static const char *const rows[][2] = {
        {"../../secret", "../../secret"},
        {"..", ".."},
        {".", "."},
        {"/etc/passwd", "/etc/passwd"},
        {"a/../b", "a/../b"},
        {"C:\\\\x", "C:\\x5c\\x5cx"},
        {"", ""},
        {"a\\u0000b", "a\\x5cu0000b"},
        {"..\\\\x", "..\\x5c\\x5cx"},
        {"a\\nb", "a\\x5cnb"},
        {"a\\u001bb", "a\\x5cu001bb"},
        {".hidden", ".hidden"},
        {"..\\u002fx", "..\\x5cu002fx"},
        {"\\ud800", "\\x5cud800"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char index[300], reason[300];
        snprintf(index, sizeof index, "{\"weight_map\":{\"a\":\"%s\"}}", rows[i][0]);
        snprintf(reason, sizeof reason, "\"%s\" is not a plain file name", rows[i][1]);
        index_refused(index, reason);
    }
    char index[500], reason[300];
    snprintf(index, sizeof index, "{\"weight_map\":{\"a\":\"%0300d\"}}", 0);
    snprintf(reason, sizeof reason, "\"%064d...\" is not a plain file name", 0);
    index_refused(index, reason);
}

Test(folder, c04_shards_that_are_not_regular_files, .timeout = 120)
{
    write_sharded();
    const char *path = folder_path(&folder, SHARD_2);
    static const char sentence[] = SHARD_2 ": not a regular file";
    unlink(path);
    cr_assert_eq(mkfifo(path, 0600), 0);
    refused(ALL, SLUICE_FORMAT, sentence);
    unlink(path);
    folder_make(&folder, SHARD_2);
    refused(ALL, SLUICE_FORMAT, sentence);
    folder_delete(&folder, SHARD_2);
    static const char *const targets[] = {"/etc/passwd", "/dev/zero", "..", "../.."};
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        folder_link(&folder, SHARD_2, targets[i]);
        refused(ALL, SLUICE_FORMAT, SHARD_2 ": is a link that leads out of the model's folder");
        folder_delete(&folder, SHARD_2);
    }
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    cr_assert_lt(snprintf(address.sun_path, sizeof address.sun_path, "%s/" SHARD_2, folder.path),
                 (int)sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    refused(ALL, SLUICE_FORMAT, sentence);
    close(fd);
}

Test(folder, c05_tensor_that_is_not_in_its_shard)
{
    write_sharded();
    index_refused("{\"weight_map\":{\"a\":\"" SHARD_2 "\",\"b\":\"" SHARD_2 "\",\"c\":\"" SHARD_1 "\"}}",
                  "tensor \"a\" is not in shard " SHARD_2);
    index_refused("{\"weight_map\":{\"a\":\"" SHARD_1 "\",\"b\":\"" SHARD_2 "\",\"c\":\"" SHARD_2 "\",\"d\":\"" SHARD_1
                  "\"}}",
                  "tensor \"d\" is not in shard " SHARD_1);
    index_refused("{\"weight_map\":{\"a\":\"" SHARD_1 "\",\"b\":\"" SHARD_2 "\",\"ab\":\"" SHARD_1 "\",\"c\":\"" SHARD_2
                  "\"}}",
                  "tensor \"ab\" is not in shard " SHARD_1);
}

Test(folder, c06_tensors_that_the_index_does_not_tell)
{
    write_sharded();
    index_refused("{\"weight_map\":{\"a\":\"" SHARD_1 "\",\"c\":\"" SHARD_2 "\"}}",
                  "tensor \"b\" of shard " SHARD_2 " is not in the index");
    index_refused("{\"weight_map\":{\"a\":\"" SHARD_1 "\",\"b\":\"" SHARD_2 "\"}}",
                  "tensor \"c\" of shard " SHARD_2 " is not in the index");
    index_refused("{\"weight_map\":{\"a\":\"" SHARD_1 "\",\"a\":\"" SHARD_2 "\",\"b\":\"" SHARD_2 "\",\"c\":\"" SHARD_2
                  "\"}}",
                  "tensor \"a\" appears twice");
    folder_write_tensors(&folder, SHARD_1, tensors_bc, 2);
    index_refused("{\"weight_map\":{\"b\":\"" SHARD_1 "\",\"c\":\"" SHARD_2 "\"}}",
                  "tensor \"b\": found in two shards");
}

Test(folder, c07_wrong_total_size_is_a_warning)
{
    write_sharded();
    folder_write_text(&folder, INDEX,
                      "{\"weight_map\":{\"a\":\"" SHARD_1 "\",\"b\":\"" SHARD_2 "\",\"c\":\"" SHARD_2
                      "\"},\"metadata\":{\"x\":{\"total_size\":1},\"total_size\":25}}");
    struct archive *a = expect_opened(folder.path, ALL);
    cr_expect_str_eq(archive_warning(a), INDEX ": total_size is 25, but the tensors have 24 bytes");
    archive_close(&a);
    static const char *const metadata[] = {"{\"total_size\":24.0}", "{\"total_size\":\"x\"}", "7", "[1]", "{}"};
    for (size_t i = 0; i < sizeof metadata / sizeof *metadata; i++) {
        char index[400];
        snprintf(index, sizeof index, "{\"weight_map\":{\"a\":\"%s\",\"b\":\"%s\",\"c\":\"%s\"},\"metadata\":%s}",
                 SHARD_1, SHARD_2, SHARD_2, metadata[i]);
        folder_write_text(&folder, INDEX, index);
        a = expect_opened(folder.path, ALL);
        cr_expect_null(archive_warning(a));
        archive_close(&a);
    }
}

Test(folder, a_broken_shard_is_named)
{
    write_sharded();
    struct stat s;
    const char *path = folder_path(&folder, SHARD_2);
    cr_assert_eq(stat(path, &s), 0);
    cr_assert_eq(truncate(path, s.st_size - 1), 0);
    refused(ALL, SLUICE_FORMAT, SHARD_2 ": tensor \"c\": bytes 8..16 lie outside the data section (15)");
    cr_assert_eq(truncate(path, 4), 0);
    refused(ALL, SLUICE_FORMAT, SHARD_2 ": header: file too short (4 bytes, need 8)");
    cr_assert_eq(truncate(path, 0), 0);
    refused(ALL, SLUICE_FORMAT, SHARD_2 ": header: file too short (0 bytes, need 8)");
    folder_write_text(&folder, SHARD_2, "GGUF........");
    refused(ALL, SLUICE_FORMAT, SHARD_2 ": is a GGUF file, not a safetensors file");
}

Test(folder, too_many_shards_and_tensors, .timeout = 600)
{
    folder_write_text(&folder, "config.json", "{}");
    size_t cap = 40u << 20;
    char *index = malloc(cap), *p = stpcpy(index, "{\"weight_map\":{");
    for (int i = 0; i < 4097; i++) p += sprintf(p, "%s\"%d\":\"%d\"", i ? "," : "", i, i);
    strcpy(p, "}}");
    index_refused(index, "4097 shards exceed the limit 4096");
    p = stpcpy(index, "{\"weight_map\":{");
    for (int i = 0; i < 1100000; i++) p += sprintf(p, "%s\"%d\":\"m\"", i ? "," : "", i);
    strcpy(p, "}}");
    index_refused(index, "tensor count exceeds the limit 1048576");
    free(index);
}

/* A header may have 100 MB, and shards may be links: a small folder is not read for an hour. */
Test(folder, shards_that_are_links_to_one_large_header, .timeout = 600)
{
    enum { HEADER_BYTES = 60000000 };
    char *file = malloc(8 + HEADER_BYTES), *p;
    uint64_t length = HEADER_BYTES;
    cr_assert(file);
    memcpy(file, &length, 8);
    memset(file + 8, ' ', HEADER_BYTES);
    p = file + 8;
    memcpy(p, "{}", 2);
    folder_write_text(&folder, "config.json", "{}");
    folder_write(&folder, "0", file, 8 + HEADER_BYTES);
    free(file);
    char index[256] = "{\"weight_map\":{\"t0\":\"0\"";
    for (int i = 1; i < 9; i++) {
        char name[2] = {(char)('0' + i), 0};
        cr_assert_eq(symlink("0", folder_path(&folder, name)), 0);
        sprintf(index + strlen(index), ",\"t%d\":\"%d\"", i, i);
    }
    strcat(index, "}}");
    folder_write_text(&folder, INDEX, index);
    refused(ALL, SLUICE_FORMAT, "4: header: all headers up to here have 300000000 bytes, expected at most 268435456");
}

/* ---- C08..C10: documents ----------------------------------------------------------------------------------------- */

Test(folder, c08_configuration_that_is_not_json)
{
    config_refused("", "config.json: JSON error at byte 0: a JSON object is missing");
    config_refused("[]", "config.json: JSON error at byte 0: a JSON object is missing");
    config_refused("\xef\xbb\xbf{}", "config.json: JSON error at byte 0: a JSON object is missing");
    config_refused("/* c */ {}", "config.json: JSON error at byte 0: a JSON object is missing");
    config_refused("{\"a\":\"\xff\"}", "config.json: JSON error at byte 6: not UTF-8");
    config_refused("{\"a\":1,\"a\":1}", "config.json: \"a\" appears twice");
    folder_write_text(&folder, "config.json", "{}");
    folder_write_text(&folder, "generation_config.json", "{");
    refused(ARCHIVE_CONFIG, SLUICE_FORMAT, "generation_config.json: JSON error at byte 1: the text ends too early");
    folder_delete(&folder, "generation_config.json");
    folder_write_text(&folder, "tokenizer_config.json", "x");
    refused(ARCHIVE_CONFIG, SLUICE_FORMAT, "tokenizer_config.json: JSON error at byte 0: a JSON object is missing");
}

Test(folder, c09_nan_and_infinity)
{
    config_refused("{\"a\": NaN}", "config.json: NaN and Infinity are not JSON (byte 6)");
    config_refused("{\"a\": Infinity}", "config.json: NaN and Infinity are not JSON (byte 6)");
    config_refused("{\"a\": [1, -Infinity]}", "config.json: NaN and Infinity are not JSON (byte 10)");
    config_refused("{\"a\": -NaN}", "config.json: JSON error at byte 7: a digit is missing");
}

Test(folder, c10_configuration_too_large_or_too_deep)
{
    enum { N = 10000 };
    char *config = malloc(N + 16);
    strcpy(config, "{\"a\":");
    memset(config + 5, '[', N);
    config[5 + N] = 0;
    config_refused(config, "config.json: JSON nested deeper than 64");
    free(config);

    static const struct {
        const char *name;
        off_t limit;
    } rows[] = {{"config.json", 16777216},           {"generation_config.json", 16777216},
                {"tokenizer_config.json", 16777216}, {"tokenizer.json", 268435456},
                {"tiktoken.model", 268435456},       {"README.md", 16777216}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char sentence[200];
        folder_write_text(&folder, "config.json", "{}");
        folder_write_text(&folder, rows[i].name, "{}");
        cr_assert_eq(truncate(folder_path(&folder, rows[i].name), rows[i].limit + 1), 0); /* a hole: no disk used */
        snprintf(sentence, sizeof sentence, "%s: larger than %lld bytes", rows[i].name, (long long)rows[i].limit);
        refused(ARCHIVE_CONFIG, SLUICE_FORMAT, sentence);
        folder_delete(&folder, rows[i].name);
    }
    folder_write_text(&folder, "config.json", "{}");
    folder_write_text(&folder, "tokenizer.json", "");
    cr_assert_eq(truncate(folder_path(&folder, "tokenizer.json"), 268435456), 0);
    struct archive *a = expect_opened(folder.path, ARCHIVE_CONFIG);
    archive_close(&a);
}

/* ---- allocation failures ----------------------------------------------------------------------------------------- */

static void sweep(const char *path, unsigned flags, sluice_status expected)
{
    expect_sweep(path, flags, expected, folder.path);
}

Test(folder, every_allocation_may_fail_in_a_valid_folder, .timeout = 600)
{
    write_sharded();
    folder_write_text(&folder, "config.json",
                      "{\"a_long_key_that_needs_room\":\"a string of some length\",\"list\":[1,2,3,4,5,6,7,8,9,10],"
                      "\"f\":0.1,\"o\":{\"1\":1,\"2\":{},\"3\":3,\"4\":4,\"5\":5,\"6\":6,\"7\":7,\"8\":8,\"9\":9}}");
    folder_write_text(&folder, "tokenizer_config.json", "{\"chat_template\":\"x\"}");
    folder_write_text(&folder, "tokenizer.json", "{}");
    sweep(folder.path, ALL, SLUICE_OK);
    folder_write_text(&folder, INDEX,
                      "{\"weight_map\":{\"a\":\"" SHARD_1 "\",\"b\":\"" SHARD_2 "\",\"c\":\"" SHARD_2
                      "\"},\"metadata\":{\"total_size\":1}}");
    sweep(folder.path, ALL, SLUICE_OK);
    sweep(folder_path(&folder, SHARD_1), ARCHIVE_TENSORS, SLUICE_OK);
    folder_write_tensors(&folder, "model.safetensors", tensors_bc, 2);
    sweep(folder.path, ALL, SLUICE_OK);
}

Test(folder, every_allocation_may_fail_in_an_invalid_folder, .timeout = 600)
{
    write_sharded();
    folder_write_text(&folder, INDEX, "{\"weight_map\":{\"a\":\"" SHARD_1 "\",\"b\":\"" SHARD_2 "\"}}");
    sweep(folder.path, ALL, SLUICE_FORMAT);
    cr_assert_eq(truncate(folder_path(&folder, SHARD_2), 100), 0);
    sweep(folder.path, ALL, SLUICE_FORMAT);
    folder_write_text(&folder, INDEX, "{\"weight_map\":{\"a\":\"..\"}}");
    sweep(folder.path, ALL, SLUICE_FORMAT);
    folder_delete(&folder, INDEX);
    sweep(folder.path, ALL, SLUICE_IO);
    folder_write_text(&folder, "config.json", "{\"a\":{\"b\":[1,2,{\"c\":NaN}]}}");
    sweep(folder.path, ALL, SLUICE_FORMAT);
    folder_write_header(
        &folder, "m.safetensors",
        "{\"__metadata__\":{\"a\":\"b\"},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", NULL, 2);
    sweep(folder_path(&folder, "m.safetensors"), ARCHIVE_TENSORS, SLUICE_FORMAT);
}
