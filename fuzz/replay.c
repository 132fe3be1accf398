/* Runs a target over stored inputs, without libFuzzer and with any compiler: what was found once stays found. Where the
 * target has a mutator, a few mutants of every input as well, always the same ones.
 *
 *     replay_TARGET FILE or FOLDER ... */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

enum { MAX_BYTES = 4 << 20, MUTANTS = 20 };

static size_t n_inputs;
static struct fuzz_random random_bytes;

/* The weak one stands where a target has none. */
__attribute__((weak)) size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t capacity, unsigned seed)
{
    (void)seed;
    return LLVMFuzzerMutate(data, n, capacity);
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t capacity)
{
    struct fuzz_random *r = &random_bytes;
    size_t at = fuzz_below(r, n), end = at + fuzz_below(r, n - at);
    switch (fuzz_below(r, 4)) {
    case 0: /* a piece goes */
        memmove(data + at, data + end, n - end);
        return n - (end - at);
    case 1: /* a byte comes */
        if (n == capacity) return n;
        memmove(data + at + 1, data + at, n - at);
        data[at] = (uint8_t)fuzz_next(r);
        return n + 1;
    case 2:
        if (n) data[at] ^= (uint8_t)(1u << fuzz_below(r, 8));
        return n;
    default:
        if (n) data[at] = (uint8_t)fuzz_awkward(r);
        return n;
    }
}

/* In a block of exactly the length, so that a read behind it is seen. */
static void run_exact(const uint8_t *data, size_t n)
{
    uint8_t *copy = fuzz_need(malloc(n ? n : 1));
    if (n) memcpy(copy, data, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
    n_inputs++;
}

static void run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) fuzz_broken("%s: cannot open", path);
    uint8_t *data = fuzz_need(malloc(MAX_BYTES)), *mutant = fuzz_need(malloc(MAX_BYTES));
    size_t n = fread(data, 1, MAX_BYTES, file);
    fclose(file);
    run_exact(data, n);
    for (unsigned i = 0; i < MUTANTS; i++) {
        random_bytes.state = i;
        memcpy(mutant, data, n);
        run_exact(mutant, LLVMFuzzerCustomMutator(mutant, n, n + 4096 < MAX_BYTES ? n + 4096 : MAX_BYTES, i));
    }
    free(mutant);
    free(data);
}

static void run_path(const char *path)
{
    struct stat s;
    struct dirent **entries;
    char inner[4096];
    if (stat(path, &s) != 0) fuzz_broken("%s: not there", path);
    if (!S_ISDIR(s.st_mode)) {
        run_file(path);
        return;
    }
    int n = scandir(path, &entries, NULL, alphasort); /* the same order everywhere */
    for (int i = 0; i < n; i++) {
        snprintf(inner, sizeof inner, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.') run_path(inner);
        free(entries[i]);
    }
    if (n >= 0) free(entries);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) run_path(argv[i]);
    printf("%zu inputs\n", n_inputs);
    return n_inputs ? 0 : 1; /* a folder that is not there is no success */
}
