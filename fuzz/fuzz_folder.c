/* A Hugging Face folder: config.json, generation_config.json, the index and the headers of its shards, README.md. The
 * input is a text that stands for the folder (memory_files.h). Every tensor is planned; no weights. */
#include "engine/engine_internal.h"
#include "memory_files.h"
#include "mutate.h"
#include "open.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const char *text;
    char license[LICENSE_BYTES];
    size_t text_n;
    struct failure f;
    memory_files_unpack(data, n, &text, &text_n);
    struct archive *a = open_checked(MEMORY_FOLDER, ARCHIVE_TENSORS | ARCHIVE_CONFIG, &f);
    if (a) {
        walk_archive(a);
        bind_checked(a);
        read_license(license, a);
        archive_close(&a);
    }
    memory_files_clear();
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t capacity, unsigned seed)
{
    struct fuzz_random r = {seed};
    return mutate_json(data, n, capacity, &r);
}
