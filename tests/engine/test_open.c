/* How an engine is opened: flags and what they exclude, weights that stay in the file, and how much memory it takes. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "golden.h"
#include "sluice/sluice.h"
#include "tests/support/folder.h"

static struct test_folder folder;
static void destroy(void) { folder_remove(&folder); }
TestSuite(open, .fini = destroy);

/* ---- flags ------------------------------------------------------------------------------------------------------- */

Test(open, flags_that_contradict_each_other_or_are_unknown_are_refused)
{
    static const struct {
        unsigned flags;
        const char *load_as, *line;
    } rows[] = {
        {128, NULL, "flags: 0x80 is not known"},
        {0x80000001, NULL, "flags: 0x80000000 is not known"},
        {SLUICE_OPEN_EXACT | SLUICE_OPEN_BLAS, NULL, "OpenBLAS cannot be used together with exact results"},
        {SLUICE_OPEN_NO_REPACK | SLUICE_OPEN_BLAS, NULL,
         "OpenBLAS cannot be used together with weights that stay in the file"},
        {SLUICE_OPEN_NO_REPACK | SLUICE_OPEN_READ, NULL,
         "files that are read into memory cannot be used together with weights that stay in the file"},
        {SLUICE_OPEN_NO_REPACK, "q8_0", "load as: weights that stay in the file keep its type"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sluice_engine *engine = (sluice_engine *)1;
        sluice_error error = {0};
        sluice_engine_options o = sluice_engine_options_default();
        o.flags = rows[i].flags;
        o.load_as = rows[i].load_as;
        cr_expect_eq(sluice_engine_open(&engine, "/no/such/folder", &o, &error), SLUICE_ARGUMENT, "row %zu", i);
        cr_expect_str_eq(error.text, rows[i].line);
        cr_expect_null(engine);
    }
}

static void keep_line(void *lines, const char *text)
{
    strcat(lines, text);
    strcat(lines, "\n");
}

/* What is said when a model is open; beside an error nothing is. */
static void expect_warnings(int n_threads, const char *expected)
{
    char lines[1024] = "";
    sluice_engine *engine;
    sluice_engine_options o = sluice_engine_options_default();
    o.n_threads = n_threads;
    o.warning = keep_line;
    o.context = lines;
    o.flags = SLUICE_OPEN_NO_WEIGHTS;
    cr_expect_eq(sluice_engine_open(&engine, "/no/such/folder", &o, NULL), SLUICE_IO);
    cr_expect_str_empty(lines);
    cr_assert_eq(sluice_engine_open(&engine, SLUICE_TEST_DIR "/golden/models/qwen3-moe-hub-bf16", &o, NULL), SLUICE_OK);
    cr_expect_str_eq(lines, expected);
    sluice_engine_close(&engine);
}

Test(open, more_threads_than_cpus_and_unknown_words_are_warned_of)
{
    const int n = cpu_count();
    char expected[1024];
    expect_warnings(n < 256 ? n : 256, "");
    snprintf(expected, sizeof expected,
             "%d threads for the %d CPUs that this process may use: they wait for each other, which is much slower\n",
             n + 1, n);
    if (n < 256) expect_warnings(n + 1, expected);
    setenv("SLUICE_CPU", "avx\n3", 1);
    expect_warnings(0, "SLUICE_CPU: \"avx\\x0a3\" is not known, all features are used; expected scalar, avx2, avxvnni, "
                       "avx512, avx512vnni, avx512bf16, amx_bf16, amx_int8, neon, neon_dotprod, neon_bf16, neon_i8mm, "
                       "sve\n");
    unsetenv("SLUICE_CPU");
}

/* ---- golden models ----------------------------------------------------------------------------------------------- */

enum { N_TOKENS = 24 };

/* Logits [vocab_size] after some tokens, malloc'ed. */
static float *logits_with(const char *name, unsigned flags, sluice_model_info *info, char group[512])
{
    char path[512];
    sluice_engine *engine;
    sluice_error error = {0};
    int32_t tokens[N_TOKENS];
    sluice_engine_options o = sluice_engine_options_default();
    snprintf(path, sizeof path, SLUICE_TEST_DIR "/golden/gguf/%s.gguf", name);
    o.flags = flags;
    o.n_threads = 2;
    cr_assert_eq(sluice_engine_open(&engine, path, &o, &error), SLUICE_OK, "%s", error.text);
    sluice_engine_get_info(engine, info);
    sluice_engine_get_matrix_group(engine, 1, group, 512);
    for (int i = 0; i < N_TOKENS; i++) tokens[i] = (i * 37 + 11) % info->vocab_size;
    sluice_session *session = new_session(engine, 64, 16);
    cr_assert_eq(sluice_session_prefill(session, tokens, N_TOKENS), SLUICE_OK);
    cr_assert_eq(sluice_session_decode(session, 1), SLUICE_OK);
    const size_t n = sizeof(float) * (size_t)info->vocab_size;
    float *logits = malloc(n);
    cr_assert(logits);
    memcpy(logits, sluice_session_logits(session), n);
    sluice_session_free(&session);
    sluice_engine_close(&engine);
    return logits;
}

Test(open, weights_that_stay_in_the_file_give_the_same_results)
{
    static const char *const names[] = {"llama3-f32",       "qwen3-moe-f32",    "gpt-oss-mxfp4",       "mixtral-q5_0",
                                        "qwen3-moe-q4_k_m", "qwen3-moe-iq4_xs", "deepseek-v2-lite-f16"};
    char group[512];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        sluice_model_info packed, placed;
        float *a = logits_with(names[i], 0, &packed, group);
        float *b = logits_with(names[i], SLUICE_OPEN_NO_REPACK, &placed, group);
        const size_t n = (size_t)packed.vocab_size;
        if (strstr(names[i], "f32")) cr_expect_eq(memcmp(a, b, n * sizeof *a), 0, "%s", names[i]);
        cr_expect_lt(nmse(a, b, n), 1e-2, "%s: %g", names[i], nmse(a, b, n)); /* packed, inputs may be rounded */
        cr_expect(packed.mapped_bytes == 0 && placed.mapped_bytes > 0, "%s", names[i]);
        cr_expect_leq(placed.weight_bytes + placed.mapped_bytes, packed.weight_bytes, "%s", names[i]);
        free(a);
        free(b);
    }
}

Test(open, inputs_of_quantised_products_stay_floats_when_asked)
{
    sluice_model_info info;
    char rounded[512], floats[512];
    float *a = logits_with("mixtral-q5_0", 0, &info, rounded);
    float *b = logits_with("mixtral-q5_0", SLUICE_OPEN_FLOAT, &info, floats);
    cr_expect(strstr(floats, "_rows_f32_"), "%s", floats);
    cr_expect_lt(nmse(a, b, (size_t)info.vocab_size), 1e-2);
    free(a);
    free(b);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* A model of one layer whose weights, 120 MiB of zeros, are a hole in its file. */
enum { HIDDEN = 1024, VOCAB = 8192, FFN = 6144 };

struct header {
    char text[4096];
    size_t n, offset;
};

static void put_tensor(struct header *h, const char *name, size_t rows, size_t columns)
{
    const size_t end = h->offset + rows * columns * sizeof(float);
    char shape[64];
    snprintf(shape, sizeof shape, columns == 1 ? "%zu" : "%zu,%zu", rows, columns);
    h->n += (size_t)snprintf(h->text + h->n, sizeof h->text - h->n,
                             "%s\"model.%s.weight\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                             h->n > 1 ? "," : "", name, shape, h->offset, end);
    h->offset = end;
}

/* Returns the bytes of all weights. */
static size_t write_model(void)
{
    static const char config[] =
        "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_size\":1024,"
        "\"intermediate_size\":6144,\"num_hidden_layers\":1,\"num_attention_heads\":8,\"num_key_value_heads\":8,"
        "\"vocab_size\":8192,\"rms_norm_eps\":1e-6,\"rope_theta\":10000.0,\"max_position_embeddings\":2048,"
        "\"hidden_act\":\"silu\",\"tie_word_embeddings\":true}";
    struct header h = {.text = "{", .n = 1};
    put_tensor(&h, "embed_tokens", VOCAB, HIDDEN);
    put_tensor(&h, "norm", HIDDEN, 1);
    put_tensor(&h, "layers.0.input_layernorm", HIDDEN, 1);
    put_tensor(&h, "layers.0.post_attention_layernorm", HIDDEN, 1);
    put_tensor(&h, "layers.0.self_attn.q_proj", HIDDEN, HIDDEN);
    put_tensor(&h, "layers.0.self_attn.k_proj", HIDDEN, HIDDEN);
    put_tensor(&h, "layers.0.self_attn.v_proj", HIDDEN, HIDDEN);
    put_tensor(&h, "layers.0.self_attn.o_proj", HIDDEN, HIDDEN);
    put_tensor(&h, "layers.0.mlp.gate_proj", FFN, HIDDEN);
    put_tensor(&h, "layers.0.mlp.up_proj", FFN, HIDDEN);
    put_tensor(&h, "layers.0.mlp.down_proj", HIDDEN, FFN);
    snprintf(h.text + h.n, sizeof h.text - h.n, "}");
    folder_create(&folder);
    folder_write_text(&folder, "config.json", config);
    folder_write_header(&folder, "model.safetensors", h.text, NULL, 0);
    FILE *file = fopen(folder_path(&folder, "model.safetensors"), "r+b");
    cr_assert(file && fseek(file, 0, SEEK_END) == 0);
    const long begin = ftell(file);
    cr_assert(begin > 0 && ftruncate(fileno(file), begin + (long)h.offset) == 0);
    fclose(file);
    return h.offset;
}

/* A line of /proc/self/status in bytes: "VmHWM" is the peak of "VmRSS". */
static size_t status_bytes(const char *name)
{
    char line[256];
    size_t kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0) sscanf(line + strlen(name), ": %zu kB", &kib);
    if (file) fclose(file);
    return kib << 10;
}

static void forget_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (!file) return;
    fputs("5", file);
    fclose(file);
}

/* Emulators and sanitizers may keep what is released, or count their own memory. */
static bool releases_pages(size_t n)
{
    FILE *file = fopen(folder_path(&folder, "model.safetensors"), "rb");
    static volatile unsigned sum; /* so that the pages are really read */
    cr_assert(file);
    const unsigned char *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fileno(file), 0);
    cr_assert_neq((const void *)p, MAP_FAILED);
    const size_t before = status_bytes("VmRSS");
    for (size_t i = 0; i < n; i += 1024) sum += p[i];
    (void)sum;
    const size_t with = status_bytes("VmRSS");
    memory_release_range(p, n);
    const size_t after = status_bytes("VmRSS");
    munmap((void *)p, n);
    fclose(file);
    return with > before + n / 10 * 9 && after < before + n / 10;
}

extern void __sanitizer_print_stack_trace(void) __attribute__((weak));

/* Opens the model; gives by how much memory grew at most. */
static size_t open_peak(unsigned flags, sluice_model_info *info, double *huge_page_share)
{
    sluice_engine *engine;
    sluice_error error = {0};
    sluice_engine_options o = sluice_engine_options_default();
    o.flags = flags;
    o.n_threads = 2;
    forget_peak();
    const size_t before = status_bytes("VmRSS");
    cr_assert_eq(sluice_engine_open(&engine, folder.path, &o, &error), SLUICE_OK, "%s", error.text);
    const size_t peak = status_bytes("VmHWM");
    sluice_engine_get_info(engine, info);
    *huge_page_share = sluice_engine_huge_page_share(engine);
    sluice_engine_close(&engine);
    return peak > before ? peak - before : 0;
}

Test(open, memory_never_exceeds_the_file_by_more_than_a_tenth)
{
    if (__sanitizer_print_stack_trace) cr_skip_test("sanitizers count their own memory");
    const size_t bytes = write_model();
    sluice_model_info info;
    double share;
    if (!releases_pages(bytes)) cr_skip_test("the system does not release pages, or does not tell");
    const size_t peak = open_peak(0, &info, &share);
    cr_expect(peak > bytes / 10 * 9 && peak <= bytes + bytes / 10, "%zu of %zu", peak, bytes);
    cr_expect_eq(info.file_bytes, bytes);
    cr_expect_eq(info.weight_bytes, bytes, "the head is the embedding");
    cr_expect(share >= 0 && share <= 1);

    const size_t read = open_peak(SLUICE_OPEN_READ, &info, &share);
    /* All of the file is there at first. Huge pages that are filled in part come on top, and on a busy machine what a
     * thread holds that has lost its CPU; it must not come to a second copy. */
    cr_expect(read > bytes / 10 * 9 && read <= bytes / 10 * 18, "%zu of %zu", read, bytes);
    const size_t header = open_peak(SLUICE_OPEN_READ | SLUICE_OPEN_NO_WEIGHTS, &info, &share);
    cr_expect_leq(header, bytes / 10, "%zu: only the header is read", header);

    const size_t in_place = open_peak(SLUICE_OPEN_NO_REPACK, &info, &share);
    cr_expect_leq(in_place, bytes / 10);
    cr_expect(info.mapped_bytes >= bytes - 3 * HIDDEN * sizeof(float) && info.weight_bytes < bytes / 10);
}

Test(open, weights_lie_in_huge_pages_where_the_system_has_them)
{
    const size_t n = 64 * (size_t)HUGE_PAGE_BYTES;
    sluice_model_info info;
    double share;
    void *probe = memory_map_pages(n, true);
    cr_assert(probe);
    memset(probe, 1, n);
    const double gives = memory_huge_share(probe, n);
    memory_unmap_pages(probe, n);
    write_model();
    open_peak(0, &info, &share);
    if (gives > 0.99) cr_expect_gt(share, 0.9);
    open_peak(SLUICE_OPEN_NO_WEIGHTS, &info, &share);
    cr_expect_eq(share, 0);
}
