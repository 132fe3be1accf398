/* The real sizes, without a download: a folder whose files have the header of a released model and no data (the rest of
 * the file is a hole) is opened as `inspect` opens it. Every tensor must be found with the right shape, and the sizes
 * must be those that transformers' own definition of the model gives (tools/reference/make_real_shapes.py). */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "folder.h"
#include "sluice/sluice.h"

enum { N_MODELS = 25, MAX_NAME = 256 };

static size_t bytes_of(const char *dtype) { return strcmp(dtype, "F32") == 0 ? 4 : strcmp(dtype, "BF16") == 0 ? 2 : 1; }

/* A header that grows while tensors are listed. */
struct header {
    char *text;
    size_t n, cap;
    uint64_t data_bytes;
};

static void put(struct header *h, const char *text)
{
    size_t n = strlen(text);
    if (h->n + n + 16 > h->cap) {
        h->cap = 2 * (h->cap + n + 16);
        h->text = realloc(h->text, h->cap);
        cr_assert_not_null(h->text);
    }
    memcpy(h->text + h->n, text, n + 1);
    h->n += n;
}

static void put_tensor(struct header *h, const char *name, const char *dtype, const json_t *shape)
{
    char text[MAX_NAME + 256], dims[128] = "";
    uint64_t bytes = bytes_of(dtype);
    for (size_t i = 0; i < json_array_size(shape); i++) {
        json_int_t d = json_integer_value(json_array_get(shape, i));
        snprintf(dims + strlen(dims), sizeof dims - strlen(dims), "%s%lld", i ? "," : "", (long long)d);
        bytes *= (uint64_t)d;
    }
    snprintf(text, sizeof text, "%c\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%llu,%llu]}",
             h->n ? ',' : '{', name, dtype, dims, (unsigned long long)h->data_bytes,
             (unsigned long long)(h->data_bytes + bytes));
    put(h, text);
    h->data_bytes += bytes;
}

/* Calls itself for every number that the first {a-b,c} of the pattern stands for. */
static void put_pattern(struct header *h, const char *pattern, const char *dtype, const json_t *shape)
{
    char name[MAX_NAME];
    const char *open = strchr(pattern, '{'), *close = open ? strchr(open, '}') : NULL;
    if (!close) {
        put_tensor(h, pattern, dtype, shape);
        return;
    }
    for (const char *p = open + 1; p < close;) {
        char *end;
        long first = strtol(p, &end, 10), last = *end == '-' ? strtol(end + 1, &end, 10) : first;
        for (long i = first; i <= last; i++) {
            snprintf(name, sizeof name, "%.*s%ld%s", (int)(open - pattern), pattern, i, close + 1);
            put_pattern(h, name, dtype, shape);
        }
        p = end + 1;
    }
}

/* model.safetensors: length, header, and a hole. */
static void write_sparse(const struct test_folder *folder, const struct header *h)
{
    unsigned char length[8];
    const size_t padded = (h->n + 7) / 8 * 8;
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)padded >> (8 * i));
    int fd = open(folder_path(folder, "model.safetensors"), O_WRONLY | O_CREAT, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, length, 8), 8);
    for (size_t done = 0; done < h->n;) {
        ssize_t n = write(fd, h->text + done, h->n - done);
        cr_assert_gt(n, 0);
        done += (size_t)n;
    }
    cr_assert_eq(pwrite(fd, "        ", padded - h->n, (off_t)(8 + h->n)), (ssize_t)(padded - h->n));
    cr_assert_eq(ftruncate(fd, (off_t)(8 + padded + h->data_bytes)), 0, "the file system takes no hole of %llu bytes",
                 (unsigned long long)h->data_bytes);
    close(fd);
}

static void write_model(const struct test_folder *folder, const json_t *model)
{
    struct header h = {0};
    size_t i;
    const json_t *tensor;
    json_array_foreach(json_object_get(model, "tensors"), i, tensor)
        put_pattern(&h, json_string_value(json_array_get(tensor, 0)), json_string_value(json_array_get(tensor, 1)),
                    json_array_get(tensor, 2));
    put(&h, "}");
    write_sparse(folder, &h);
    free(h.text);
    char *config = json_dumps(json_object_get(model, "config"), 0);
    folder_write_text(folder, "config.json", config);
    free(config);
}

static void no_warning(void *context, const char *text) { cr_expect(false, "%s: %s", (const char *)context, text); }

static uint64_t expected(const json_t *model, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(json_object_get(model, "expect"), key));
}

static void check(char *name, const json_t *model, const char *path)
{
    sluice_engine *engine = NULL;
    sluice_error error = {0};
    sluice_model_info info;
    sluice_engine_options options = sluice_engine_options_default();
    options.flags = SLUICE_OPEN_NO_WEIGHTS;
    options.n_threads = 1;
    options.warning = no_warning;
    options.context = name;
    sluice_status status = sluice_engine_open(&engine, path, &options, &error);
    cr_expect_eq((int)status, (int)SLUICE_OK, "%s: %s", name, error.text);
    if (status) return;
    sluice_engine_get_info(engine, &info);
    cr_expect_eq(info.n_parameters, expected(model, "parameters"), "%s: %llu parameters", name,
                 (unsigned long long)info.n_parameters);
    cr_expect_eq(info.n_active_parameters, expected(model, "active"), "%s: %llu active", name,
                 (unsigned long long)info.n_active_parameters);
    cr_expect_eq(info.file_bytes, expected(model, "file_bytes"), "%s: %llu bytes", name,
                 (unsigned long long)info.file_bytes);
    cr_expect_eq(info.state_bytes, expected(model, "state_bytes"), "%s: %llu bytes of state", name,
                 (unsigned long long)info.state_bytes);
    /* Expected are floats; the cache has 16 bits where the weights are not F32. */
    const uint64_t per_token = expected(model, "cache_per_token") / (strcmp(info.weight_dtype, "F32") ? 2 : 1);
    cr_expect_eq(info.cache_bytes_per_token, per_token, "%s: %llu bytes per token", name,
                 (unsigned long long)info.cache_bytes_per_token);
    /* Panels are padded, FP8 gets a scale per row of a tile, latent attention a second form of one matrix. */
    cr_expect_geq(info.weight_bytes, info.file_bytes / 100 * 99, "%s", name);
    cr_expect_leq(info.weight_bytes, info.file_bytes / 100 * 106, "%s: %llu bytes in memory", name,
                  (unsigned long long)info.weight_bytes);

    sluice_session_options small = {.n_context = 1024, .n_chunk = 16}, large = {.n_context = 5120, .n_chunk = 16};
    const uint64_t a = sluice_session_forecast_bytes(engine, &small);
    const uint64_t b = sluice_session_forecast_bytes(engine, &large);
    cr_expect_gt(a, 1024 * info.cache_bytes_per_token + expected(model, "state_bytes"), "%s", name);
    cr_expect_geq(b - a, 4096 * info.cache_bytes_per_token, "%s", name);
    cr_expect_leq(b - a, 4096 * (info.cache_bytes_per_token + 4096), "%s: tables and tokens", name);
    sluice_engine_close(&engine);
}

extern void __tsan_init(void) __attribute__((weak));

Test(real_shapes, released_models_bind)
{
    if (__tsan_init) cr_skip_test("ThreadSanitizer may leave no room for a map of a terabyte");
    char folder_name[512];
    int n = 0;
    snprintf(folder_name, sizeof folder_name, "%s/golden/shapes", SLUICE_TEST_DIR);
    DIR *dir = opendir(folder_name);
    cr_assert_not_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[1024];
        if (!strstr(entry->d_name, ".json")) continue;
        snprintf(path, sizeof path, "%s/%s", folder_name, entry->d_name);
        json_t *model = json_load_file(path, 0, NULL);
        cr_assert_not_null(model, "%s", path);
        struct test_folder folder;
        folder_create(&folder);
        write_model(&folder, model);
        check(entry->d_name, model, folder.path);
        folder_remove(&folder);
        json_decref(model);
        n++;
    }
    closedir(dir);
    cr_expect_eq(n, N_MODELS);
}
