/* Rows C of the catalogue (see hostile.h): which files a folder has, its index of shards, its configuration. Every
 * folder is good (base_model.h) but for one thing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/hostile/base_model.h"

/* ---- writers: the index ------------------------------------------------------------------------------------------ */

/* The text is the whole index. */
static void whole_index(struct hostile *h, uint64_t value)
{
    base_shards(h, NULL, NULL);
    folder_write_text(&h->folder, BASE_INDEX, text_of(value));
}

/* What stands in the place of the first entry of weight_map, with its comma. */
static void first_entry(struct hostile *h, uint64_t value) { base_shards(h, text_of(value), NULL); }

static void unnamed_shard(struct hostile *h, uint64_t value)
{
    (void)value;
    base_shards(h, "", "3552");
}

/* total_size, as JSON. */
static void total_size(struct hostile *h, uint64_t value) { base_shards(h, NULL, text_of(value)); }

/* The name of the first shard, as JSON writes it between quotes. */
static void shard_name(struct hostile *h, uint64_t value)
{
    char entry[4096];
    snprintf(entry, sizeof entry, "\"" BASE_TENSOR "\":\"%s\",", text_of(value));
    base_shards(h, entry, NULL);
}

static void long_shard_name(struct hostile *h, uint64_t value)
{
    char *name = base_repeat("", "s", (size_t)value, "");
    shard_name(h, TEXT(name));
    free(name);
}

static void many_shards(struct hostile *h, uint64_t value)
{
    char *text = malloc((size_t)value * 32 + 32), *p = text;
    if (!text) abort();
    p += sprintf(p, "{\"weight_map\":{");
    for (uint64_t i = 0; i < value; i++) {
        const unsigned long long number = i;
        p += sprintf(p, "%s\"%llu\":\"%llu\"", i ? "," : "", number, number);
    }
    memcpy(p, "}}", 3);
    whole_index(h, TEXT(text));
    free(text);
}

/* The first shard holds a tensor that the index does not name, or the second one's tensors too. */
static void more_in_shard(struct hostile *h, uint64_t value)
{
    static const struct test_tensor two[] = {{BASE_TENSOR, "F32", 1, {8}, NULL}, {"z", "F32", 1, {8}, NULL}};
    base_shards(h, NULL, NULL);
    if (value)
        base_weights(h, BASE_SHARD_1, NULL);
    else
        folder_write_tensors(&h->folder, BASE_SHARD_1, two, 2);
}

/* ---- writers: files that are no files ---------------------------------------------------------------------------- */

static void without_first_shard(struct hostile *h, uint64_t value)
{
    (void)value;
    base_shards(h, NULL, NULL);
    folder_delete(&h->folder, BASE_SHARD_1);
}

/* The first shard is a link to the text. */
static void shard_link(struct hostile *h, uint64_t value)
{
    without_first_shard(h, 0);
    folder_link(&h->folder, BASE_SHARD_1, text_of(value));
}

/* The first shard is a folder, a FIFO (reading it would block for ever) or a socket. */
static void shard_special(struct hostile *h, uint64_t value)
{
    without_first_shard(h, 0);
    if (value == S_IFDIR)
        folder_make(&h->folder, BASE_SHARD_1);
    else if (mknod(folder_path(&h->folder, BASE_SHARD_1), (mode_t)value | 0600, 0) != 0)
        h->skip = "mknod is refused";
}

/* The file of this name is a FIFO in an otherwise good folder. */
static void fifo(struct hostile *h, uint64_t value)
{
    const char *path = folder_path(&h->folder, text_of(value));
    base_model(h);
    remove(path);
    if (mkfifo(path, 0600) != 0) h->skip = "mkfifo is refused";
}

/* What is opened is itself a FIFO. */
static void path_fifo(struct hostile *h, uint64_t value)
{
    fifo(h, value);
    hostile_open_file(h, text_of(value));
}

static void path_link(struct hostile *h, uint64_t value)
{
    folder_link(&h->folder, "link", text_of(value));
    hostile_open_file(h, "link");
}

/* ---- writers: a hub cache ---------------------------------------------------------------------------------------- */

#define HUB      "models--org--tiny"
#define SNAPSHOT HUB "/snapshots/0123abcd"

static void move(struct hostile *h, const char *name, const char *blob)
{
    char link[128], target[64];
    const char *from = folder_path(&h->folder, name);
    snprintf(link, sizeof link, SNAPSHOT "/%s", name);
    snprintf(target, sizeof target, "../../blobs/%s", blob);
    folder_link(&h->folder, link, target);
    snprintf(link, sizeof link, HUB "/blobs/%s", blob);
    if (rename(from, folder_path(&h->folder, link)) != 0) abort();
}

/* As a hub's client leaves it: every file of a snapshot is a link to a blob. */
static void write_hub(struct hostile *h)
{
    base_shards(h, NULL, NULL);
    folder_write_text(&h->folder, HUB "/refs/main", "0123abcd");
    folder_make(&h->folder, HUB "/blobs");
    move(h, "config.json", "1111");
    move(h, BASE_INDEX, "2222");
    move(h, BASE_SHARD_1, "3333");
    move(h, BASE_SHARD_2, "4444");
}

/* The cache's folder of the model, or one of its snapshots. */
static void hub(struct hostile *h, uint64_t value)
{
    write_hub(h);
    hostile_open_file(h, text_of(value));
}

static void hub_link(struct hostile *h, const char *file, const char *target)
{
    char link[128];
    write_hub(h);
    folder_write_text(&h->folder, "models--org--other/blobs/5555", "{}");
    folder_write_text(&h->folder, "secret", "{}");
    snprintf(link, sizeof link, SNAPSHOT "/%s", file);
    folder_delete(&h->folder, link);
    folder_link(&h->folder, link, target);
    hostile_open_file(h, SNAPSHOT);
}
static void hub_config(struct hostile *h, uint64_t value) { hub_link(h, "config.json", text_of(value)); }
static void hub_shard(struct hostile *h, uint64_t value) { hub_link(h, BASE_SHARD_1, text_of(value)); }

/* refs/main, which says where the snapshot is. */
static void hub_revision(struct hostile *h, uint64_t value)
{
    write_hub(h);
    folder_write_text(&h->folder, HUB "/refs/main", text_of(value));
    hostile_open_file(h, HUB);
}

/* The snapshot itself, or the file that names it, leads out of the cache's folder of the model. */
static void hub_snapshot_elsewhere(struct hostile *h, uint64_t value)
{
    (void)value;
    hub_revision(h, TEXT("89abcdef"));
    folder_write_text(&h->folder, "secret/config.json", "{}");
    folder_link(&h->folder, HUB "/snapshots/89abcdef", "../../secret");
}

static void hub_revision_elsewhere(struct hostile *h, uint64_t value)
{
    (void)value;
    write_hub(h);
    folder_write_text(&h->folder, "secret", "password");
    folder_delete(&h->folder, HUB "/refs/main");
    folder_link(&h->folder, HUB "/refs/main", "../../secret");
    hostile_open_file(h, HUB);
}

/* ---- writers: configurations ------------------------------------------------------------------------------------- */

static void nothing(struct hostile *h, uint64_t value) { (void)h, (void)value; }

/* The folder has this file only, and it is empty. */
static void only(struct hostile *h, uint64_t value) { folder_write_text(&h->folder, text_of(value), ""); }

static void without(struct hostile *h, uint64_t value)
{
    base_model(h);
    folder_delete(&h->folder, text_of(value));
}

static void single_file(struct hostile *h, uint64_t value)
{
    (void)value;
    base_model(h);
    hostile_open_file(h, "model.safetensors");
}

/* The text is all of config.json. */
static void whole_config(struct hostile *h, uint64_t value)
{
    base_model(h);
    folder_write_text(&h->folder, "config.json", text_of(value));
}

static void config_with_nul(struct hostile *h, uint64_t value)
{
    (void)value;
    base_model(h);
    folder_write(&h->folder, "config.json", "{\0}", 3);
}

static void edit(struct hostile *h, uint64_t value)
{
    base_model(h);
    base_config(h, text_of(value));
}

static void generation(struct hostile *h, uint64_t value)
{
    base_model(h);
    folder_write_text(&h->folder, "generation_config.json", text_of(value));
}

/* So many ids of which n are different. */
static void write_end_tokens(struct hostile *h, size_t count, unsigned n)
{
    char *text = malloc(count * 3 + 64), *p = text;
    if (!text) abort();
    p += sprintf(p, "{\"eos_token_id\":[");
    for (size_t i = 0; i < count; i++) p += sprintf(p, "%s%u", i ? "," : "", (unsigned)i % n);
    memcpy(p, "]}", 3);
    generation(h, TEXT(text));
    free(text);
}
static void equal_end_tokens(struct hostile *h, uint64_t value) { write_end_tokens(h, (size_t)value, 1); }
static void other_end_tokens(struct hostile *h, uint64_t value) { write_end_tokens(h, (size_t)value, 16); }

/* So many arrays or objects in one another, as the value of a key. */
static void deep_config(struct hostile *h, const char *piece, size_t n)
{
    char *text = base_repeat("{\"a\":", piece, n, "");
    whole_config(h, TEXT(text));
    free(text);
}
static void nested_arrays(struct hostile *h, uint64_t value) { deep_config(h, "[", (size_t)value); }
static void nested_objects(struct hostile *h, uint64_t value) { deep_config(h, "{\"a\":", (size_t)value); }

/* So many values beside each other. */
static void wide_config(struct hostile *h, const char *piece, size_t n)
{
    char *text = base_repeat("{\"a\":[0", piece, n, "]}");
    whole_config(h, TEXT(text));
    free(text);
}
static void many_values(struct hostile *h, uint64_t value) { wide_config(h, ",0", (size_t)value); }
static void many_objects(struct hostile *h, uint64_t value) { wide_config(h, ",{}", (size_t)value); }

/* A file that is one byte larger than what is read of it, and takes no room on the disk. */
static void large_file(struct hostile *h, uint64_t value)
{
    const char *name = text_of(value);
    const bool tokenizer = strcmp(name, "tokenizer.json") == 0 || strcmp(name, "tiktoken.model") == 0;
    const bool index = strcmp(name, BASE_INDEX) == 0;
    base_model(h);
    if (index) folder_delete(&h->folder, "model.safetensors");
    base_sparse(h, name, "{}", (tokenizer ? 256u << 20 : index ? 128u << 20 : 16u << 20) + UINT64_C(1));
}

static void huge_config(struct hostile *h, uint64_t value)
{
    base_model(h);
    base_sparse(h, "config.json", "{}", value);
}

static void tokenizer(struct hostile *h, unsigned id, bool special)
{
    char text[512];
    snprintf(text, sizeof text,
             "{\"added_tokens\": [{\"id\": %u, \"content\": \"<image>\", \"special\": %s}], \"model\": {\"type\": "
             "\"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\"]}}",
             id, special ? "true" : "false");
    base_model(h);
    folder_write_text(&h->folder, "tokenizer.json", text);
}
static void plain_token(struct hostile *h, uint64_t value) { tokenizer(h, (unsigned)value, false); }
static void special_token(struct hostile *h, uint64_t value) { tokenizer(h, (unsigned)value, true); }

/* Another name for the output's matrix: it is not there. */
static void without_head(struct hostile *h, uint64_t value)
{
    base_model(h);
    base_config(h, text_of(value));
    base_rename(h, "lm_head", "am_head");
}

/* ---- writers: other families ------------------------------------------------------------------------------------- */

static void deepseek_v2(struct hostile *h, uint64_t value) { base_golden(h, "deepseek-v2-groups-v5", text_of(value)); }
static void deepseek_v3(struct hostile *h, uint64_t value) { base_golden(h, "deepseek-v3-hub-bf16", text_of(value)); }
static void fp8(struct hostile *h, uint64_t value) { base_golden(h, "deepseek-v3-fp8-hub", text_of(value)); }
static void gemma2(struct hostile *h, uint64_t value) { base_golden(h, "gemma2-hub-bf16", text_of(value)); }
static void gemma3(struct hostile *h, uint64_t value) { base_golden(h, "gemma3-hub-bf16", text_of(value)); }
static void gpt_oss(struct hostile *h, uint64_t value) { base_golden(h, "gpt-oss-hub-bf16", text_of(value)); }
static void mxfp4(struct hostile *h, uint64_t value) { base_golden(h, "gpt-oss-mxfp4-hub", text_of(value)); }
static void qwen3_next(struct hostile *h, uint64_t value) { base_golden(h, "qwen3-next-hub-bf16", text_of(value)); }
static void lfm2_moe(struct hostile *h, uint64_t value) { base_golden(h, "lfm2-moe-hub-bf16", text_of(value)); }

static void fp8_without_scales(struct hostile *h, uint64_t value)
{
    (void)value;
    fp8(h, TEXT(""));
    base_rename(h, "model.layers.0.mlp.down_proj.weight_scale_inv", "model.layers.0.mlp.down_proj.weight_scale_xxx");
}

static void mxfp4_without_scales(struct hostile *h, uint64_t value)
{
    (void)value;
    mxfp4(h, TEXT(""));
    base_rename(h, "model.layers.0.mlp.experts.down_proj_scales", "model.layers.0.mlp.experts.down_proj_xxxxxx");
}

/* ---- cases ------------------------------------------------------------------------------------------------------- */

#define MALFORMED(row, what, writer, value, line)        \
    {                                                    \
        row, what, writer, value, SLUICE_FORMAT, line, 0 \
    }
#define UNSUPPORTED(row, what, writer, value, line)           \
    {                                                         \
        row, what, writer, value, SLUICE_UNSUPPORTED, line, 0 \
    }
#define UNREADABLE(row, what, writer, value, line)                  \
    {                                                               \
        row, what, writer, value, SLUICE_IO, HOSTILE_FOLDER line, 0 \
    }
#define ACCEPTED(row, what, writer, value, line)     \
    {                                                \
        row, what, writer, value, SLUICE_OK, line, 0 \
    }

#define INDEX(row, what, text, line)      MALFORMED(row, what, whole_index, TEXT(text), BASE_INDEX ": " line)
#define SHARD_NAME(row, what, text, line) MALFORMED(row, what, shard_name, TEXT(text), BASE_INDEX ": \"" line)
#define CONFIG(row, what, text, line)     MALFORMED(row, what, whole_config, TEXT(text), "config.json: " line)
#define GENERATION(row, what, text, line) MALFORMED(row, what, generation, TEXT(text), "generation_config.json: " line)
/* One key is wrong: of the Qwen3-MoE made here, or of a golden model. */
#define KEY(row, what, edits, line)               MALFORMED(row, what, edit, TEXT(edits), "config.json: " line)
#define KEY_OF(row, what, model, edits, line)     MALFORMED(row, what, model, TEXT(edits), "config.json: " line)
#define FOREIGN(row, what, edits, line)           UNSUPPORTED(row, what, edit, TEXT(edits), "config.json: " line)
#define FOREIGN_OF(row, what, model, edits, line) UNSUPPORTED(row, what, model, TEXT(edits), "config.json: " line)

#define NOT_REGULAR                               ": not a regular file"
#define LEADS_OUT                                 ": is a link that leads out of the model's folder"
#define ABSENT                                    ": cannot open: No such file or directory"
#define NOT_PLAIN                                 "\" is not a plain file name"
#define WIDTH                                     ", expected an integer in 1..131072"
#define TO_1024                                   ", expected an integer in 1..1024"
#define SCALINGS                                  ", expected one of default, linear, llama3, yarn, proportional"
#define ANY_FACTOR                                ", expected a number in 1e-06..1e+06"
#define THETA                                     ", expected a number in 1..1e+15"
#define METHODS                                   ", expected \"fp8\" or \"mxfp4\", or no quantization"
#define TOKENS                                    ", expected an integer in 0..15"
#define KNOWN                                     " is not supported (known: DeepseekV2ForCausalLM, " HOSTILE_REST
#define S_16                                      "ssssssssssssssss"

const struct hostile_case hostile_config[] = {
    INDEX("C01", "nothing", "{}", "\"weight_map\" is missing"),
    INDEX("C01", "weight_map is an array", "{\"weight_map\":[]}", "\"weight_map\" is missing"),
    INDEX("C01", "weight_map is null", "{\"weight_map\":null}", "\"weight_map\" is missing"),
    INDEX("C01", "weight_map is empty", "{\"weight_map\":{}}", "\"weight_map\" is missing"),
    INDEX("C01", "weight_map inside another key", "{\"a\":{\"weight_map\":{\"a\":\"b\"}}}",
          "\"weight_map\" is missing"),
    INDEX("C01", "weight_map twice", "{\"weight_map\":{\"a\":\"b\"},\"weight_map\":{\"a\":\"b\"}}",
          "\"weight_map\" appears twice"),
    INDEX("C01", "a number", "7", "\"weight_map\" is missing"),
    INDEX("C01", "an empty file", "", "JSON error at byte 0: the text ends too early"),
    INDEX("C01", "a cut file", "{\"weight_map\":{\"a\":\"b\"}", "JSON error at byte 23: the text ends too early"),
    INDEX("C01", "a shard that is a number", "{\"weight_map\":{\"a\":7}}",
          "tensor \"a\": the shard's name must be a string"),
    INDEX("C01", "a shard that is an object", "{\"weight_map\":{\"a\":{\"b\":\"c\"}}}",
          "tensor \"a\": the shard's name must be a string"),
    INDEX("C01", "an empty name of a tensor", "{\"weight_map\":{\"\":\"m\"}}",
          "tensor name \"\": expected text without NUL"),
    INDEX("C01", "a NUL in the name of a tensor", "{\"weight_map\":{\"a\\u0000\":\"m\"}}",
          "tensor name \"a\\x5cu0000\": expected text without NUL"),
    MALFORMED("C01", "4097 shards", many_shards, 4097, BASE_INDEX ": 4097 shards exceed the limit 4096"),
    MALFORMED("C01", "1100000 tensors", many_shards, 1100000, BASE_INDEX ": tensor count exceeds the limit 1048576"),

    MALFORMED("C02", "another number of digits", shard_name, TEXT("model-00001.safetensors"),
              BASE_INDEX ": shard \"model-00001.safetensors\" not found"),
    MALFORMED("C02", "a shard that is gone", without_first_shard, 0,
              BASE_INDEX ": shard \"" BASE_SHARD_1 "\" not found"),
    MALFORMED("C02", "a link to nothing", shard_link, TEXT("gone"),
              BASE_INDEX ": shard \"" BASE_SHARD_1 "\" not found"),
    MALFORMED("C02", "a shard that is the configuration", shard_name, TEXT("config.json"),
              "config.json: header: length " HOSTILE_NUMBER " exceeds the limit 100000000"),

    SHARD_NAME("C03", "parent folders", "../../secret", "../../secret" NOT_PLAIN),
    SHARD_NAME("C03", "the parent folder", "..", ".." NOT_PLAIN),
    SHARD_NAME("C03", "the folder", ".", "." NOT_PLAIN),
    SHARD_NAME("C03", "an absolute path", "/etc/passwd", "/etc/passwd" NOT_PLAIN),
    SHARD_NAME("C03", "a path", "a/../b", "a/../b" NOT_PLAIN),
    SHARD_NAME("C03", "a path with an escape", "..\\u002fsecret", "..\\x5cu002fsecret" NOT_PLAIN),
    SHARD_NAME("C03", "another system's path", "C:\\\\x", "C:\\x5c\\x5cx" NOT_PLAIN),
    SHARD_NAME("C03", "nothing", "", NOT_PLAIN),
    SHARD_NAME("C03", "a hidden file", ".git", ".git" NOT_PLAIN),
    SHARD_NAME("C03", "a NUL", BASE_SHARD_1 "\\u0000", BASE_SHARD_1 "\\x5cu0000" NOT_PLAIN),
    SHARD_NAME("C03", "a line end", "a\\nb", "a\\x5cnb" NOT_PLAIN),
    SHARD_NAME("C03", "an escape character", "a\\u001b[2J", "a\\x5cu001b[2J" NOT_PLAIN),
    SHARD_NAME("C03", "half of a surrogate pair", "\\ud800", "\\x5cud800" NOT_PLAIN),
    MALFORMED("C03", "300 bytes", long_shard_name, 300, BASE_INDEX ": \"" S_16 S_16 S_16 S_16 "..." NOT_PLAIN),

    MALFORMED("C04", "a link out of the folder", shard_link, TEXT("/etc/passwd"), BASE_SHARD_1 LEADS_OUT),
    MALFORMED("C04", "a link to a device that never ends", shard_link, TEXT("/dev/zero"), BASE_SHARD_1 LEADS_OUT),
    MALFORMED("C04", "a link to the folder", shard_link, TEXT("."), BASE_SHARD_1 LEADS_OUT),
    MALFORMED("C04", "a link to the folder above", shard_link, TEXT(".."), BASE_SHARD_1 LEADS_OUT),
    UNREADABLE("C04", "a link to itself", shard_link, TEXT(BASE_SHARD_1),
               ": " BASE_SHARD_1 ": cannot open: Too many levels of symbolic links"),
    MALFORMED("C04", "a link to the other shard", shard_link, TEXT(BASE_SHARD_2),
              BASE_INDEX ": tensor \"lm_head.weight\": found in two shards"),
    MALFORMED("C04", "a FIFO", shard_special, S_IFIFO, BASE_SHARD_1 NOT_REGULAR),
    MALFORMED("C04", "a socket", shard_special, S_IFSOCK, BASE_SHARD_1 NOT_REGULAR),
    MALFORMED("C04", "a folder", shard_special, S_IFDIR, BASE_SHARD_1 NOT_REGULAR),
    MALFORMED("C04", "config.json is a FIFO", fifo, TEXT("config.json"), "config.json" NOT_REGULAR),
    MALFORMED("C04", "model.safetensors is a FIFO", fifo, TEXT("model.safetensors"), "model.safetensors" NOT_REGULAR),
    MALFORMED("C04", "tokenizer.json is a FIFO", fifo, TEXT("tokenizer.json"), "tokenizer.json" NOT_REGULAR),
    MALFORMED("C04", "README.md is a FIFO", fifo, TEXT("README.md"), "README.md" NOT_REGULAR),
    MALFORMED("C04", "what is opened is a FIFO", path_fifo, TEXT("fifo"), HOSTILE_FOLDER "/fifo" NOT_REGULAR),
    MALFORMED("C04", "what is opened is a device", path_link, TEXT("/dev/zero"), HOSTILE_FOLDER "/link" NOT_REGULAR),
    UNREADABLE("C04", "what is opened is a link to itself", path_link, TEXT("link"),
               "/link: cannot open: Too many levels of symbolic links"),
    ACCEPTED("C04", "a hub cache", hub, TEXT(HUB), NULL),
    ACCEPTED("C04", "a snapshot of a hub cache", hub, TEXT(SNAPSHOT), NULL),
    ACCEPTED("C04", "a snapshot whose link takes another way", hub_shard, TEXT("../../../" HUB "/blobs/3333"), NULL),
    MALFORMED("C04", "a snapshot's link to another model", hub_config, TEXT("../../../models--org--other/blobs/5555"),
              "config.json" LEADS_OUT),
    MALFORMED("C04", "a snapshot's link out of the cache", hub_config, TEXT("../../../secret"),
              "config.json" LEADS_OUT),
    MALFORMED("C04", "a snapshot's link to all blobs", hub_shard, TEXT("../../blobs"), BASE_SHARD_1 NOT_REGULAR),
    MALFORMED("C04", "a snapshot's link to a device", hub_shard, TEXT("/dev/zero"), BASE_SHARD_1 LEADS_OUT),
    MALFORMED("C04", "a snapshot's blob that was not fetched", hub_shard, TEXT("../../blobs/6666"),
              BASE_INDEX ": shard \"" BASE_SHARD_1 "\" not found"),
    UNREADABLE("C04", "a revision that leaves the cache", hub_revision, TEXT("../../../secret"),
               "/" HUB ": config.json" ABSENT),
    UNREADABLE("C04", "a revision that is not there", hub_revision, TEXT("4567cdef"),
               "/" HUB ": " HOSTILE_FOLDER "/" HUB "/snapshots/4567cdef" ABSENT),

    UNREADABLE("C04", "a snapshot outside the cache", hub_snapshot_elsewhere, 0, "/" HUB ": config.json" ABSENT),
    UNREADABLE("C04", "a revision's name outside the cache", hub_revision_elsewhere, 0, "/" HUB ": config.json" ABSENT),

    MALFORMED("C05", "the other shard", shard_name, TEXT(BASE_SHARD_2),
              BASE_INDEX ": tensor \"" BASE_TENSOR "\" is not in shard " BASE_SHARD_2),
    MALFORMED("C05", "a tensor that no shard has", first_entry,
              TEXT("\"" BASE_TENSOR "\":\"" BASE_SHARD_1 "\",\"a\":\"" BASE_SHARD_1 "\","),
              BASE_INDEX ": tensor \"a\" is not in shard " BASE_SHARD_1),

    MALFORMED("C06", "a tensor that the index does not name", more_in_shard, 0,
              BASE_INDEX ": tensor \"z\" of shard " BASE_SHARD_1 " is not in the index"),
    MALFORMED("C06", "tensors in two shards", more_in_shard, 1,
              BASE_INDEX ": tensor \"lm_head.weight\": found in two shards"),
    MALFORMED("C06", "a tensor twice in the index", first_entry,
              TEXT("\"" BASE_TENSOR "\":\"" BASE_SHARD_1 "\",\"" BASE_TENSOR "\":\"" BASE_SHARD_1 "\","),
              BASE_INDEX ": tensor \"" BASE_TENSOR "\" appears twice"),
    MALFORMED("C06", "a tensor twice in the index, once with an escape", first_entry,
              TEXT("\"" BASE_TENSOR "\":\"" BASE_SHARD_1 "\",\"model\\u002enorm.weight\":\"" BASE_SHARD_2 "\","),
              BASE_INDEX ": tensor \"" BASE_TENSOR "\" appears twice"),
    MALFORMED("C06", "a shard that is not named", unnamed_shard, 0, "model: missing tensors: " BASE_TENSOR),

    ACCEPTED("C07", "a byte less", total_size, TEXT("3583"),
             BASE_INDEX ": total_size is 3583, but the tensors have 3584 bytes"),
    ACCEPTED("C07", "2^64 - 1 bytes", total_size, TEXT("18446744073709551615"),
             BASE_INDEX ": total_size is 18446744073709551615, but the tensors have 3584 bytes"),
    ACCEPTED("C07", "what they are", total_size, TEXT("3584"), NULL),
    ACCEPTED("C07", "2^64 bytes: no number", total_size, TEXT("18446744073709551616"), NULL),
    ACCEPTED("C07", "a negative number: none", total_size, TEXT("-1"), NULL),

    UNREADABLE("C08", "an empty folder", nothing, 0, ": config.json" ABSENT),
    UNREADABLE("C08", "no config.json", without, TEXT("config.json"), ": config.json" ABSENT),
    UNREADABLE("C08", "no tensors", without, TEXT("model.safetensors"),
               ": model.safetensors" ABSENT " (nor " BASE_INDEX ")"),
    UNSUPPORTED("C08", "a file of PyTorch only", only, TEXT("pytorch_model.bin"),
                "pytorch_model.bin: is a PyTorch file: convert it to safetensors"),
    {"C08", "a file without its folder", single_file, 0, SLUICE_ARGUMENT,
     HOSTILE_FOLDER "/model.safetensors: a single file has no config.json: name the folder of the model", 0},
    CONFIG("C08", "an empty file", "", "JSON error at byte 0: a JSON object is missing"),
    CONFIG("C08", "blanks", " \n\t", "JSON error at byte 3: a JSON object is missing"),
    CONFIG("C08", "an array", "[]", "JSON error at byte 0: a JSON object is missing"),
    CONFIG("C08", "null", "null", "JSON error at byte 0: a JSON object is missing"),
    CONFIG("C08", "a byte order mark", "\xef\xbb\xbf{}", "JSON error at byte 0: a JSON object is missing"),
    CONFIG("C08", "UTF-16", "\xff\xfe{", "JSON error at byte 0: a JSON object is missing"),
    CONFIG("C08", "a comment before the object", "// c\n{}", "JSON error at byte 0: a JSON object is missing"),
    CONFIG("C08", "a comment in the object", "{/* c */}", "JSON error at byte 1: a key in quotes is missing"),
    CONFIG("C08", "a comma too many", "{\"a\":1,}", "JSON error at byte 7: a key in quotes is missing"),
    CONFIG("C08", "no UTF-8", "{\"a\":\"\xff\"}", "JSON error at byte 6: not UTF-8"),
    CONFIG("C08", "a cut file", "{\"a\":1.5", "JSON error at byte 8: the text ends too early"),
    CONFIG("C08", "text after the object", "{}x", "JSON error at byte 2: text after the end"),
    CONFIG("C08", "a key twice", "{\"hidden_size\":8,\"hidden_size\":16}", "\"hidden_size\" appears twice"),
    CONFIG("C08", "a key twice, once with an escape", "{\"o\":{\"a\":1,\"\\u0061\":2}}", "\"a\" appears twice"),
    CONFIG("C08", "a NUL in a string", "{\"a\":\"x\\u0000\"}",
           "JSON error at byte 6: a string holds NUL or half of a surrogate pair"),
    CONFIG("C08", "half of a surrogate pair", "{\"a\":\"\\udfff\"}",
           "JSON error at byte 6: a string holds NUL or half of a surrogate pair"),
    MALFORMED("C08", "a NUL between tokens", config_with_nul, 0,
              "config.json: JSON error at byte 1: a key in quotes is missing"),

    CONFIG("C09", "NaN", "{\"a\": NaN}", "NaN and Infinity are not JSON (byte 6)"),
    CONFIG("C09", "Infinity", "{\"a\": Infinity}", "NaN and Infinity are not JSON (byte 6)"),
    CONFIG("C09", "-Infinity in an array", "{\"a\": [1, -Infinity]}", "NaN and Infinity are not JSON (byte 10)"),
    CONFIG("C09", "1e400", "{\"a\": 1e400}", "JSON error at byte 6: number out of range"),
    CONFIG("C09", "-1e400", "{\"a\": -1e400}", "JSON error at byte 6: number out of range"),
    GENERATION("C09", "NaN as a default of sampling", "{\"temperature\": NaN}",
               "NaN and Infinity are not JSON (byte 16)"),

    MALFORMED("C10", "200 MB", huge_config, 200000000, "config.json: larger than 16777216 bytes"),
    MALFORMED("C10", "1 TB", huge_config, UINT64_C(1) << 40, "config.json: larger than 16777216 bytes"),
    MALFORMED("C10", "a byte too many", large_file, TEXT("config.json"), "config.json: larger than 16777216 bytes"),
    MALFORMED("C10", "a byte too many in generation_config.json", large_file, TEXT("generation_config.json"),
              "generation_config.json: larger than 16777216 bytes"),
    MALFORMED("C10", "a byte too many in tokenizer_config.json", large_file, TEXT("tokenizer_config.json"),
              "tokenizer_config.json: larger than 16777216 bytes"),
    MALFORMED("C10", "a byte too many in tokenizer.json", large_file, TEXT("tokenizer.json"),
              "tokenizer.json: larger than 268435456 bytes"),
    MALFORMED("C10", "a byte too many in README.md", large_file, TEXT("README.md"),
              "README.md: larger than 16777216 bytes"),
    MALFORMED("C10", "a byte too many in the index", large_file, TEXT(BASE_INDEX),
              BASE_INDEX ": larger than 134217728 bytes"),
    MALFORMED("C10", "10000 arrays", nested_arrays, 10000, "config.json: JSON nested deeper than 64"),
    MALFORMED("C10", "10000 objects", nested_objects, 10000, "config.json: JSON nested deeper than 64"),
    MALFORMED("C10", "one object too deep", nested_objects, 64, "config.json: JSON nested deeper than 64"),
    MALFORMED("C10", "1100000 values", many_values, 1100000, "config.json: more than 1048576 values"),
    MALFORMED("C10", "140000 objects", many_objects, 140000, "config.json: more than 131072 objects and arrays"),

    KEY("C11", "hidden_size -1", "hidden_size=-1", "hidden_size: found -1" WIDTH),
    KEY("C11", "hidden_size 0", "hidden_size=0", "hidden_size: found 0" WIDTH),
    KEY("C11", "hidden_size one above the limit", "hidden_size=131073", "hidden_size: found 131073" WIDTH),
    KEY("C11", "hidden_size 1.5", "hidden_size=1.5", "hidden_size: found 1.5" WIDTH),
    KEY("C11", "hidden_size a string", "hidden_size=\"8\"", "hidden_size: found \"8\"" WIDTH),
    KEY("C11", "hidden_size true", "hidden_size=true", "hidden_size: found true" WIDTH),
    KEY("C11", "hidden_size null", "hidden_size=null", "hidden_size: missing"),
    KEY("C11", "hidden_size missing", "hidden_size=", "hidden_size: missing"),
    KEY("C11", "hidden_size an array", "hidden_size=[8]", "hidden_size: found an array" WIDTH),
    KEY("C11", "hidden_size 1e99", "hidden_size=1e99", "hidden_size: found 1e+99" WIDTH),
    KEY("C11", "hidden_size 2^32 + 8: 8, if it is cut", "hidden_size=4294967304",
        "hidden_size: found 4294967304" WIDTH),
    KEY("C11", "hidden_size 2^63 - 1", "hidden_size=9223372036854775807",
        "hidden_size: found 9223372036854775807" WIDTH),
    KEY("C11", "hidden_size -2^63", "hidden_size=-9223372036854775808", "hidden_size: found -9.22337204e+18" WIDTH),
    KEY("C11", "hidden_size 2^64 + 8", "hidden_size=18446744073709551624", "hidden_size: found 1.84467441e+19" WIDTH),
    KEY("C11", "a string that clears the screen", "hidden_size=\"\\u001b[2J\"",
        "hidden_size: found \"\\x1b[2J\"" WIDTH),
    MALFORMED("C11", "hidden_size of another model", edit, TEXT("hidden_size=16"),
              "model.safetensors: tensor \"model.embed_tokens.weight\": shape [16,8], expected [16,16]"),
    KEY("C11", "a switch that is a number", "norm_topk_prob=1", "norm_topk_prob: found 1, expected true or false"),
    KEY("C11", "a switch that is a string", "attention_bias=\"no\"",
        "attention_bias: found \"no\", expected true or false"),
    KEY("C11", "no positions", "max_position_embeddings=0",
        "max_position_embeddings: found 0, expected an integer in 1..16777216"),
    KEY("C11", "2^63 positions", "max_position_embeddings=9223372036854775808",
        "max_position_embeddings: found 9.22337204e+18, expected an integer in 1..16777216"),

    KEY("C12", "no layers", "num_hidden_layers=0", "num_hidden_layers: found 0" TO_1024),
    KEY("C12", "-1 layers", "num_hidden_layers=-1", "num_hidden_layers: found -1" TO_1024),
    KEY("C12", "10^9 layers", "num_hidden_layers=1000000000", "num_hidden_layers: found 1000000000" TO_1024),
    MALFORMED("C12", "1024 layers of one", edit, TEXT("num_hidden_layers=1024"),
              "model: missing tensors: model.layers.1.input_layernorm.weight, " HOSTILE_REST),
    MALFORMED("C12", "a layer more than there is", edit, TEXT("num_hidden_layers=2"),
              "model: missing tensors: model.layers.1.input_layernorm.weight, " HOSTILE_REST),

    KEY("C13", "heads that do not share keys", "num_attention_heads=30\nnum_key_value_heads=4",
        "num_attention_heads: 30 heads are not a multiple of 4 key-value heads"),
    KEY("C13", "more key-value heads than heads", "num_key_value_heads=4",
        "num_attention_heads: 2 heads are not a multiple of 4 key-value heads"),
    KEY("C13", "heads that do not divide the width", "num_attention_heads=3\nhead_dim=",
        "num_attention_heads: 3 does not divide hidden_size 8, and head_dim is missing"),
    KEY("C13", "no heads", "num_attention_heads=0", "num_attention_heads: found 0" TO_1024),
    KEY("C13", "no key-value heads", "num_key_value_heads=0", "num_key_value_heads: found 0" TO_1024),
    KEY("C13", "2^31 heads", "num_attention_heads=2147483648", "num_attention_heads: found 2147483648" TO_1024),
    MALFORMED("C13", "more heads than the tensors have", edit, TEXT("num_attention_heads=4"),
              "model.safetensors: tensor \"model.layers.0.self_attn.q_proj.weight\": shape [8,8], expected [16,8]"),
    KEY_OF("C13", "value heads that do not share keys", qwen3_next, "linear_num_value_heads=3",
           "linear_num_value_heads: 3 value heads are not a multiple of 2 key heads"),
    KEY_OF("C13", "no key heads", qwen3_next, "linear_num_key_heads=0", "linear_num_key_heads: found 0" TO_1024),
    FOREIGN("C13", "a layer with fewer keys", "per_layer_config={\"0\":{\"num_key_value_heads\":2}}",
            "per_layer_config.0.num_key_value_heads: found 2, expected 1"),
    KEY("C13", "keys of a layer that is not there", "per_layer_config={\"1\":{\"num_key_value_heads\":1}}",
        "per_layer_config: found 1 entries, expected numbers of layers in 0..0"),
    KEY_OF("C13", "latent attention with fewer keys", deepseek_v3, "num_key_value_heads=1",
           "num_key_value_heads: found 1, expected one for each of 3 heads"),

    KEY("C14", "head_dim 0", "head_dim=0", "head_dim: found 0, expected an integer in 2..1024"),
    KEY("C14", "head_dim -4", "head_dim=-4", "head_dim: found -4, expected an integer in 2..1024"),
    KEY("C14", "head_dim 3", "head_dim=3", "head_dim: found 3, expected an even number in 2..1024"),
    KEY("C14", "head_dim 100000", "head_dim=100000", "head_dim: found 100000, expected an integer in 2..1024"),
    MALFORMED("C14", "head_dim of another model", edit, TEXT("head_dim=8"),
              "model.safetensors: tensor \"model.layers.0.self_attn.q_proj.weight\": shape [8,8], expected [16,8]"),
    KEY_OF("C14", "a rotating part that is odd", deepseek_v3, "qk_rope_head_dim=5",
           "qk_rope_head_dim: found 5, expected an even number in 2..1024"),
    KEY_OF("C14", "parts of a head that are too wide together", deepseek_v3,
           "qk_nope_head_dim=960\nqk_rope_head_dim=66",
           "qk_rope_head_dim: found 66 beside 960 elements that do not rotate and 14 of values, expected heads of at "
           "most 1024"),
    KEY_OF("C14", "no latent", deepseek_v3, "kv_lora_rank=0", "kv_lora_rank: found 0, expected an integer in 1..65536"),
    KEY_OF("C14", "a convolution without taps", lfm2_moe, "conv_L_cache=0",
           "conv_L_cache: found 0, expected an integer in 1..64"),

    KEY("C15", "more experts per token than there are", "num_experts_per_tok=5",
        "num_experts_per_tok: found 5, expected at most the number of experts, 4"),
    KEY("C15", "no experts per token", "num_experts_per_tok=0",
        "num_experts_per_tok: found 0, expected an integer in 1..64"),
    KEY("C15", "-1 experts per token", "num_experts_per_tok=-1",
        "num_experts_per_tok: found -1, expected an integer in 1..64"),
    KEY("C15", "2^32 + 2 experts per token", "num_experts_per_tok=4294967298",
        "num_experts_per_tok: found 4294967298, expected an integer in 1..64"),
    KEY("C15", "no experts", "num_experts=0", "num_experts: found 0, expected an integer in 1..4096"),
    KEY("C15", "4097 experts", "num_experts=4097", "num_experts: found 4097, expected an integer in 1..4096"),
    MALFORMED("C15", "fewer experts than the router has", edit, TEXT("num_experts=3"),
              "model.safetensors: tensor \"model.layers.0.mlp.gate.weight\": shape [4,8], expected [3,8]"),
    MALFORMED("C15", "4096 experts in each of 1023 layers that are not there", edit,
              TEXT("num_hidden_layers=1024\nnum_experts=4096\nmlp_only_layers=[0]"),
              "model: missing tensors: model.layers.1.input_layernorm.weight, " HOSTILE_REST),

    KEY_OF("C16", "groups that do not divide the experts", deepseek_v3, "n_group=3",
           "n_group: 3 groups do not divide 8 experts"),
    KEY_OF("C16", "no groups", deepseek_v3, "n_group=0", "n_group: found 0, expected an integer in 1..4096"),
    KEY_OF("C16", "more groups than experts", deepseek_v3, "n_group=16", "n_group: 16 groups do not divide 8 experts"),
    KEY_OF("C16", "groups of one expert", deepseek_v3, "n_group=8",
           "n_group: found 8 groups of 8 experts, expected at least 2 experts in each"),
    KEY_OF("C16", "more groups chosen than there are", deepseek_v3, "topk_group=5",
           "topk_group: found 5, expected 1..4 groups"),
    KEY_OF("C16", "no group chosen", deepseek_v3, "topk_group=0",
           "topk_group: found 0, expected an integer in 1..4096"),
    KEY_OF("C16", "groups with fewer experts than are chosen", deepseek_v3, "topk_group=1",
           "num_experts_per_tok: found 3, expected at most the 2 experts of 1 groups"),
    KEY_OF("C16", "groups that do not divide the experts of another family", deepseek_v2, "n_group=4",
           "n_group: 4 groups do not divide 9 experts"),
    FOREIGN_OF("C16", "another way to choose", deepseek_v3, "topk_method=\"greedy\"",
               "topk_method: found \"greedy\", expected \"noaux_tc\""),
    FOREIGN_OF("C16", "scores of another family", deepseek_v3, "scoring_func=\"softmax\"",
               "scoring_func: found \"softmax\", expected \"sigmoid\""),

    KEY("C17", "experts of no width", "moe_intermediate_size=0",
        "moe_intermediate_size: found 0, expected an integer in 1..16777216"),
    KEY("C17", "experts that are too wide", "moe_intermediate_size=16777217",
        "moe_intermediate_size: found 16777217, expected an integer in 1..16777216"),
    MALFORMED(
        "C17", "experts of another width", edit, TEXT("moe_intermediate_size=5"),
        "model.safetensors: tensor \"model.layers.0.mlp.experts.0.gate_proj.weight\": shape [4,8], expected [5,8]"),
    MALFORMED(
        "C17", "experts of another width in blocks", mxfp4, TEXT("intermediate_size=33"),
        "model.safetensors: tensor \"model.layers.0.mlp.experts.gate_up_proj_blocks\": shape [5,64,2,16], expected "
        "[5,66,2,16]"),
    MALFORMED("C17", "a width whose product is 2^30", deepseek_v3,
              TEXT("n_shared_experts=64\nmoe_intermediate_size=16777216"),
              "model.safetensors: tensor \"model.layers.1.mlp.experts.0.gate_proj.weight\": shape [8,36], expected "
              "[16777216,36]"),

    KEY("C18", "rope_theta 0", "rope_theta=0", "rope_theta: found 0" THETA),
    KEY("C18", "rope_theta -10000", "rope_theta=-10000.0", "rope_theta: found -10000" THETA),
    KEY("C18", "rope_theta 1: no two frequencies differ", "rope_theta=1", "rope_theta: found 1" THETA),
    KEY("C18", "rope_theta 1e300", "rope_theta=1e300", "rope_theta: found 1e+300" THETA),
    KEY("C18", "rope_theta 1e400", "rope_theta=1e400", "JSON error at byte " HOSTILE_NUMBER ": number out of range"),
    KEY("C18", "rope_theta NaN", "rope_theta=NaN", "NaN and Infinity are not JSON (byte " HOSTILE_NUMBER ")"),
    KEY("C18", "rope_theta a string", "rope_theta=\"1e4\"", "rope_theta: found \"1e4\"" THETA),
    KEY("C18", "rope_theta 0 in rope_parameters",
        "rope_theta=\nrope_scaling=\nrope_parameters={\"rope_type\":\"default\",\"rope_theta\":0}",
        "rope_parameters.rope_theta: found 0" THETA),
    KEY_OF("C18", "the other theta 0", gemma3, "rope_local_base_freq=0", "rope_local_base_freq: found 0" THETA),

    KEY("C19", "an array", "rope_scaling=[]", "rope_scaling: found an array, expected an object or null"),
    KEY("C19", "no factor", "rope_scaling={\"type\":\"linear\"}", "rope_scaling.factor: missing"),
    KEY("C19", "factor 0", "rope_scaling={\"type\":\"linear\",\"factor\":0}",
        "rope_scaling.factor: found 0" ANY_FACTOR),
    KEY("C19", "factor -4", "rope_scaling={\"rope_type\":\"linear\",\"factor\":-4}",
        "rope_scaling.factor: found -4" ANY_FACTOR),
    KEY("C19", "factor 1e9", "rope_scaling={\"rope_type\":\"yarn\",\"factor\":1e9}",
        "rope_scaling.factor: found 1e+09" ANY_FACTOR),
    KEY("C19", "factor a string", "rope_scaling={\"rope_type\":\"yarn\",\"factor\":\"4\"}",
        "rope_scaling.factor: found \"4\"" ANY_FACTOR),
    FOREIGN("C19", "an unknown type", "rope_scaling={\"type\":\"su\"}",
            "rope_scaling.rope_type: found \"su\"" SCALINGS),
    FOREIGN("C19", "longrope, whose lists are too short",
            "rope_scaling={\"rope_type\":\"longrope\",\"short_factor\":[1],\"long_factor\":[1]}",
            "rope_scaling.rope_type: found \"longrope\"" SCALINGS),
    FOREIGN("C19", "a type that is a number", "rope_scaling={\"rope_type\":7}",
            "rope_scaling.rope_type: found 7" SCALINGS),
    KEY("C19", "no original context",
        "rope_scaling={\"rope_type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":0}",
        "rope_scaling.original_max_position_embeddings: found 0, expected a number in 1..1.67772e+07"),
    KEY("C19", "the fast bound below the slow one",
        "rope_scaling={\"rope_type\":\"yarn\",\"factor\":4,\"beta_fast\":1,\"beta_slow\":2}",
        "rope_scaling.beta_fast: found 1, expected at least beta_slow 2"),
    KEY("C19", "a slow bound of 0", "rope_scaling={\"rope_type\":\"yarn\",\"factor\":4,\"beta_slow\":0}",
        "rope_scaling.beta_slow: found 0" ANY_FACTOR),
    KEY("C19", "a factor of attention of 0",
        "rope_scaling={\"rope_type\":\"yarn\",\"factor\":4,\"attention_factor\":0}",
        "rope_scaling.attention_factor: found 0" ANY_FACTOR),
    KEY("C19", "a scale of -1", "rope_scaling={\"rope_type\":\"yarn\",\"factor\":4,\"mscale\":-1}",
        "rope_scaling.mscale: found -1, expected a number in 0..1e+06"),
    KEY("C19", "llama3 without its bounds", "rope_scaling={\"rope_type\":\"llama3\",\"factor\":8}",
        "rope_scaling.low_freq_factor: missing"),
    KEY("C19", "llama3 with equal bounds: their difference divides",
        "rope_scaling={\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":4}",
        "rope_scaling.high_freq_factor: found 4, expected more than low_freq_factor 4"),
    KEY("C19", "both spellings",
        "rope_scaling={\"type\":\"linear\",\"factor\":2}\nrope_parameters={\"rope_theta\":1e4}",
        "rope_scaling: found beside rope_parameters, expected one of them (the scaling may stand in rope_parameters)"),
    FOREIGN("C19", "a part of a head", "partial_rotary_factor=0.5", "partial_rotary_factor: found 0.5, expected 1"),
    KEY_OF("C19", "a part of a head that is odd", qwen3_next, "partial_rotary_factor=0.2",
           "partial_rotary_factor: found 0.2, expected a share of 16 elements that is even and at least 2"),
    KEY_OF("C19", "nothing of a head", qwen3_next, "partial_rotary_factor=0",
           "partial_rotary_factor: found 0, expected a number in 1e-06..1"),
    ACCEPTED("C19", "yarn that stretches beyond the longest context", edit,
             TEXT("rope_scaling={\"rope_type\":\"yarn\",\"factor\":1e6,\"original_max_position_embeddings\":16777216}"),
             NULL),

    KEY("C20", "rms_norm_eps 0", "rms_norm_eps=0", "rms_norm_eps: found 0, expected a number in 1e-30..1"),
    KEY("C20", "rms_norm_eps -1e-6", "rms_norm_eps=-1e-6", "rms_norm_eps: found -1e-06, expected a number in 1e-30..1"),
    KEY("C20", "rms_norm_eps 1e30", "rms_norm_eps=1e30", "rms_norm_eps: found 1e+30, expected a number in 1e-30..1"),
    KEY("C20", "rms_norm_eps Infinity", "rms_norm_eps=Infinity",
        "NaN and Infinity are not JSON (byte " HOSTILE_NUMBER ")"),
    KEY("C20", "rms_norm_eps 1e-400", "rms_norm_eps=1e-400", "rms_norm_eps: found 0, expected a number in 1e-30..1"),
    KEY_OF("C20", "routed_scaling_factor 0", deepseek_v3, "routed_scaling_factor=0",
           "routed_scaling_factor: found 0" ANY_FACTOR),
    KEY_OF("C20", "routed_scaling_factor NaN", deepseek_v3, "routed_scaling_factor=NaN",
           "NaN and Infinity are not JSON (byte " HOSTILE_NUMBER ")"),
    KEY_OF("C20", "a cap of 0 on scores", gemma2, "attn_logit_softcapping=0",
           "attn_logit_softcapping: found 0" ANY_FACTOR),
    KEY_OF("C20", "a cap of -4 on logits", gemma2, "final_logit_softcapping=-4.0",
           "final_logit_softcapping: found -4" ANY_FACTOR),
    KEY_OF("C20", "a scale of 0", gemma2, "query_pre_attn_scalar=0", "query_pre_attn_scalar: found 0" ANY_FACTOR),
    KEY_OF("C20", "a limit of 0", gpt_oss, "swiglu_limit=0",
           "swiglu_limit: found 0, expected a number in 1e-06..1e+30"),

    KEY("C21", "no vocabulary", "vocab_size=0", "vocab_size: found 0, expected an integer in 1..4194304"),
    KEY("C21", "2^22 + 1 tokens", "vocab_size=4194305", "vocab_size: found 4194305, expected an integer in 1..4194304"),
    MALFORMED("C21", "fewer tokens than rows", edit, TEXT("vocab_size=15"),
              "model.safetensors: tensor \"model.embed_tokens.weight\": shape [16,8], expected [15,8]"),
    MALFORMED("C21", "more tokens than rows", edit, TEXT("vocab_size=4194304"),
              "model.safetensors: tensor \"model.embed_tokens.weight\": shape [16,8], expected [4194304,8]"),
    MALFORMED("C21", "a token of the tokenizer without a row", plain_token, 16,
              "config.json: vocab_size: found 16, but the tokenizer has token id 16"),
    ACCEPTED("C21", "a special token without a row", special_token, 16,
             "the model has 16 tokens and cannot run the tokenizer's special tokens from id 16 to 16"),
    ACCEPTED("C21", "the last row has a token", plain_token, 15, NULL),

    KEY("C22", "a list for more layers", "layer_types=[\"full_attention\",\"full_attention\"]",
        "layer_types: found an array of 2 entries, expected an array of 1 layers"),
    KEY("C22", "an empty list", "layer_types=[]",
        "layer_types: found an array of 0 entries, expected an array of 1 layers"),
    KEY("C22", "no list", "layer_types=\"full_attention\"",
        "layer_types: found \"full_attention\", expected an array of layers"),
    FOREIGN(
        "C22", "an unknown word", "layer_types=[\"mamba\"]",
        "layer_types[0]: found \"mamba\", expected \"full_attention\", \"sliding_attention\", \"linear_attention\", "
        "\"conv\" or \"attention\""),
    FOREIGN(
        "C22", "a number", "layer_types=[1]",
        "layer_types[0]: found 1, expected \"full_attention\", \"sliding_attention\", \"linear_attention\", \"conv\" "
        "or \"attention\""),
    FOREIGN("C22", "a layer of another family", "layer_types=[\"linear_attention\"]",
            "layer_types[0]: found \"linear_attention\", expected \"full_attention\" or \"sliding_attention\""),
    KEY("C22", "a window of -1", "use_sliding_window=true\nsliding_window=-1",
        "sliding_window: found -1, expected an integer in 0..16777216"),
    KEY("C22", "a window of 2^32", "use_sliding_window=true\nsliding_window=4294967296",
        "sliding_window: found 4294967296, expected an integer in 0..16777216"),
    ACCEPTED("C22", "a window of 0: none", edit, TEXT("use_sliding_window=true\nsliding_window=0"), NULL),
    KEY_OF("C22", "a pattern of no layers", gemma3, "sliding_window_pattern=0",
           "sliding_window_pattern: found 0, expected an integer in 1..1024"),
    KEY_OF("C22", "a list that is too short", gpt_oss, "layer_types=[\"full_attention\"]",
           "layer_types: found an array of 1 entries, expected an array of 3 layers"),
    KEY_OF("C22", "layers with attention that are not there", lfm2_moe, "layer_types=\nfull_attn_idxs=[1,3]",
           "full_attn_idxs: found 3, expected an integer in 0..2"),

    KEY("C23", "a dense layer that is not there", "mlp_only_layers=[1]", "mlp_only_layers: found 1, expected 0"),
    KEY("C23", "a dense layer -1", "mlp_only_layers=[-1]", "mlp_only_layers: found -1, expected 0"),
    KEY("C23", "dense layers that are no list", "mlp_only_layers=0",
        "mlp_only_layers: found 0, expected an array of layer numbers"),
    KEY("C23", "a step of 0", "decoder_sparse_step=0", "decoder_sparse_step: found 0" TO_1024),
    MALFORMED("C23", "a dense layer without its tensors", edit, TEXT("mlp_only_layers=[0]"),
              "model: missing tensors: model.layers.0.mlp.gate_proj.weight, model.layers.0.mlp.up_proj.weight, "
              "model.layers.0.mlp.down_proj.weight"),
    KEY_OF("C23", "-1 dense layers", deepseek_v3, "first_k_dense_replace=-1",
           "first_k_dense_replace: found -1, expected an integer in 0..1024"),
    MALFORMED("C23", "more dense layers than layers", deepseek_v3, TEXT("first_k_dense_replace=1024"),
              "model: missing tensors: model.layers.1.mlp.gate_proj.weight, model.layers.2.mlp.gate_proj.weight, "
              "model.layers.1.mlp.up_proj.weight, model.layers.2.mlp.up_proj.weight, "
              "model.layers.1.mlp.down_proj.weight, model.layers.2.mlp.down_proj.weight"),
    MALFORMED("C23", "a step that leaves dense layers without their tensors", qwen3_next, TEXT("decoder_sparse_step=2"),
              "model: missing tensors: model.layers.0.mlp.gate_proj.weight, model.layers.0.mlp.up_proj.weight, "
              "model.layers.0.mlp.down_proj.weight"),
    FOREIGN_OF("C23", "experts in every 0th layer", deepseek_v3, "moe_layer_freq=0",
               "moe_layer_freq: found 0, expected 1 (not supported)"),
    MALFORMED("C23", "linear attention where there is none", qwen3_next, TEXT("full_attention_interval=3"),
              "model: missing tensors: model.layers.1.linear_attn.in_proj_qkvz.weight, "
              "model.layers.1.linear_attn.in_proj_ba.weight, model.layers.1.linear_attn.conv1d.weight, "
              "model.layers.1.linear_attn.A_log, model.layers.1.linear_attn.dt_bias, "
              "model.layers.1.linear_attn.norm.weight, model.layers.1.linear_attn.out_proj.weight"),
    KEY_OF("C23", "attention in every 0th layer", qwen3_next, "full_attention_interval=0",
           "full_attention_interval: found 0" TO_1024),

    FOREIGN("C24", "an unknown method", "quantization_config={\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":0}",
            "quantization_config.quant_method: found \"gptq\"" METHODS),
    FOREIGN("C24", "a method that is a number", "quantization_config={\"quant_method\":8}",
            "quantization_config.quant_method: found 8" METHODS),
    FOREIGN("C24", "no method", "quantization_config={\"bits\":64}", "quantization_config: found an object" METHODS),
    FOREIGN("C24", "a number", "quantization_config=4", "quantization_config: found 4" METHODS),
    FOREIGN_OF("C24", "tiles of no rows", fp8,
               "quantization_config={\"quant_method\":\"fp8\",\"weight_block_size\":[0,128]}",
               "quantization_config.weight_block_size: found 0, expected [128, 128]"),
    FOREIGN_OF("C24", "tiles of 3 columns", fp8,
               "quantization_config={\"quant_method\":\"fp8\",\"weight_block_size\":[128,3]}",
               "quantization_config.weight_block_size: found 3, expected [128, 128]"),
    FOREIGN_OF("C24", "tiles of one size", fp8,
               "quantization_config={\"quant_method\":\"fp8\",\"weight_block_size\":[128]}",
               "quantization_config.weight_block_size: found an array, expected [128, 128]"),
    FOREIGN_OF("C24", "the other format of 8 bits", fp8,
               "quantization_config={\"quant_method\":\"fp8\",\"fmt\":\"e5m2\"}",
               "quantization_config.fmt: found \"e5m2\", expected \"e4m3\""),
    MALFORMED("C24", "no scales of tiles", fp8_without_scales, 0,
              "model: missing tensors: model.layers.0.mlp.down_proj.weight_scale_inv"),
    MALFORMED("C24", "no scales of blocks", mxfp4_without_scales, 0,
              "model: missing tensors: model.layers.0.mlp.experts.down_proj_scales"),

    MALFORMED("C25", "neither tied nor there", without_head, TEXT(""), "model: missing tensors: lm_head.weight"),
    ACCEPTED("C25", "tied and not there", without_head, TEXT("tie_word_embeddings=true"),
             "model: tensor \"am_head.weight\" is not used by this architecture"),
    ACCEPTED("C25", "tied and there", edit, TEXT("tie_word_embeddings=true"), NULL),
    KEY("C25", "tied with a string", "tie_word_embeddings=\"yes\"",
        "tie_word_embeddings: found \"yes\", expected true or false"),

    KEY("C26", "an end token -1", "eos_token_id=-1", "eos_token_id: found -1" TOKENS),
    KEY("C26", "an end token without a row", "eos_token_id=[1,16]", "eos_token_id: found 16" TOKENS),
    KEY("C26", "an end token in an array too many", "eos_token_id=[[2]]", "eos_token_id: found an array" TOKENS),
    KEY("C26", "a first token without a row", "bos_token_id=16", "bos_token_id: found 16" TOKENS),
    GENERATION("C26", "-1 among the end tokens", "{\"eos_token_id\":[1,-1]}", "eos_token_id: found -1" TOKENS),
    GENERATION("C26", "2^32 among the end tokens", "{\"eos_token_id\":[4294967296]}",
               "eos_token_id: found 4294967296" TOKENS),
    GENERATION("C26", "a string among the end tokens", "{\"eos_token_id\":[\"x\"]}",
               "eos_token_id: found \"x\"" TOKENS),
    ACCEPTED("C26", "a million times one end token", equal_end_tokens, 1000000, NULL),
    ACCEPTED("C26", "a hundred thousand times 16 end tokens", other_end_tokens, 100000, NULL),
    GENERATION("C26", "do_sample 1", "{\"do_sample\":1}", "do_sample: found 1, expected true or false"),
    GENERATION("C26", "temperature -0.5", "{\"temperature\":-0.5}",
               "temperature: found -0.5, expected a number in 0..100"),
    GENERATION("C26", "temperature 1e400", "{\"temperature\":1e400}", "JSON error at byte 15: number out of range"),
    GENERATION("C26", "top_p 0", "{\"top_p\":0}", "top_p: found 0, expected a number in 1e-09..1"),
    GENERATION("C26", "min_p 1: no token is left", "{\"min_p\":1}", "min_p: found 1, expected a number in 0..0.999999"),
    GENERATION("C26", "a penalty of 0: it divides", "{\"repetition_penalty\":0}",
               "repetition_penalty: found 0, expected a number in 0.001..1000"),
    GENERATION("C26", "top_k -1", "{\"top_k\":-1}", "top_k: found -1, expected an integer in 0..4194304"),
    GENERATION("C26", "an array", "[]", "JSON error at byte 0: a JSON object is missing"),

    KEY("C27", "text_config that is a number", "text_config=7", "text_config: found 7, expected an object"),
    KEY("C27", "text_config without anything", "text_config={}", "text_config.hidden_size: missing"),
    FOREIGN("C27", "an unknown architecture", "architectures=[\"GPT2LMHeadModel\"]",
            "architectures: \"GPT2LMHeadModel\"" KNOWN),
    FOREIGN("C27", "a blank behind the name", "architectures=[\"Qwen3MoeForCausalLM \"]",
            "architectures: \"Qwen3MoeForCausalLM \"" KNOWN),
    FOREIGN("C27", "a name that clears the screen", "architectures=[\"\\u001b[2J\"]",
            "architectures: \"\\x1b[2J\"" KNOWN),
    FOREIGN("C27", "an unknown type", "architectures=\nmodel_type=\"../../etc\"", "model_type: \"../../etc\"" KNOWN),
    KEY("C27", "no architecture", "architectures=[]",
        "architectures: found an array of 0, expected an array of one string"),
    KEY("C27", "two architectures", "architectures=[\"Qwen3MoeForCausalLM\",\"X\"]",
        "architectures: found an array of 2, expected an array of one string"),
    KEY("C27", "a string", "architectures=\"Qwen3MoeForCausalLM\"",
        "architectures: found \"Qwen3MoeForCausalLM\", expected an array of one string"),
    KEY("C27", "a number", "architectures=[7]", "architectures: found an array of 1, expected an array of one string"),
    KEY("C27", "neither architecture nor type",
        "architectures=\nmodel_type=", "architectures: missing, and so is model_type"),
    MALFORMED("C27", "another family that is known", edit, TEXT("architectures=[\"Qwen3ForCausalLM\"]"),
              "model: missing tensors: model.layers.0.mlp.gate_proj.weight, model.layers.0.mlp.up_proj.weight, "
              "model.layers.0.mlp.down_proj.weight"),
};
const size_t n_hostile_config = sizeof hostile_config / sizeof *hostile_config;
