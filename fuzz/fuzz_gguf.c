/* A GGUF file: opened, its configuration read, every tensor planned; no weights. Its header alone is enough as an
 * input: the data are then made up. */
#include "mutate.h"
#include "open.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct archive *a = open_gguf_input(data, n, ARCHIVE_TENSORS | ARCHIVE_CONFIG);
    if (!a) return 0;
    walk_archive(a);
    bind_checked(a);
    archive_close(&a);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t capacity, unsigned seed)
{
    struct fuzz_random r = {seed};
    return mutate_gguf(data, n, capacity, &r);
}
