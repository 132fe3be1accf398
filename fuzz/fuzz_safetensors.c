/* A .safetensors file. A header alone is enough as an input: as many filling follow it as its offsets ask for. Small
 * arrays are read as numbers, as `sluice verify` reads its references. */
#include <stdlib.h>
#include <string.h>

#include "memory_files.h"
#include "mutate.h"
#include "open.h"
#include "sluice/experimental.h"

static const char path[] = MEMORY_FOLDER "/model.safetensors", name[] = "model.safetensors";

static void read_arrays(const struct archive *a)
{
    sluice_arrays *arrays;
    sluice_error error;
    if (sluice_arrays_open(&arrays, path, &error)) fuzz_broken("opened once, but not twice: %s", error.text);
    for (size_t i = 0; i < archive_n_tensors(a); i += 1 + archive_n_tensors(a) / 8) {
        const struct tensor_view *t = archive_tensor(a, i);
        size_t shape[ARCHIVE_MAX_DIMS], n_dims = ARCHIVE_MAX_DIMS;
        float *floats;
        int32_t *ints;
        if (t->bytes > 4096) continue;
        if (!sluice_arrays_get_float(arrays, t->name, &floats, shape, &n_dims, &error)) free(floats);
        n_dims = ARCHIVE_MAX_DIMS;
        if (!sluice_arrays_get_int(arrays, t->name, &ints, shape, &n_dims, &error)) free(ints);
    }
    sluice_arrays_close(&arrays);
}

static void try_file(const uint8_t *data, size_t n, uint64_t filling)
{
    struct failure f;
    memory_files_clear();
    memory_files_add(name, sizeof name - 1, data, n, filling);
    struct archive *a = open_checked(path, ARCHIVE_TENSORS, &f);
    if (!a) return;
    walk_archive(a);
    archive_tensor_metadata(a, "format");
    read_arrays(a);
    archive_close(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    uint64_t header_n = 0;
    for (int i = 7; i >= 0 && n >= 8; i--) header_n = header_n << 8 | data[i];
    try_file(data, n, 0);
    if (n > 8 && header_n == n - 8) {
        uint64_t filling = memory_files_data_bytes((const char *)data + 8, n - 8);
        if (filling) try_file(data, n, filling);
    }
    return 0;
}

/* The header is changed and its length made right, mostly. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t capacity, unsigned seed)
{
    struct fuzz_random r = {seed};
    if (n < 8 || capacity < 16 || fuzz_below(&r, 16) == 0) return LLVMFuzzerMutate(data, n, capacity);
    n = 8 + mutate_json(data + 8, n - 8, capacity - 8, &r);
    if (fuzz_below(&r, 16) == 0) return n;
    for (int i = 0; i < 8; i++) data[i] = (uint8_t)((uint64_t)(n - 8) >> (8 * i));
    return n;
}
