/* The tokenizer of a GGUF file, from its keys; then a text is encoded and decoded. */
#include "engine/gguf_vocab.h"
#include "mutate.h"
#include "open.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char text[] = "Hello, w\xc3\xb6rld 12345\n  <s>\t\xf0\x9f\x98\x80 don't";
    char warning[512];
    struct failure f = {0};
    struct vocab *v;
    struct archive *a = open_gguf_input(data, n, 0);
    if (!a) return 0;
    sluice_status s = open_gguf_vocab(&v, a, warning, sizeof warning, &f);
    fuzz_check_failure(s, &f);
    archive_close(&a);
    if (!s && v) try_vocab(v, text, sizeof text - 1);
    vocab_free(&v);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t capacity, unsigned seed)
{
    struct fuzz_random r = {seed};
    return mutate_gguf(data, n, capacity, &r);
}
