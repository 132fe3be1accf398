/* A tokenizer as a folder has it: tokenizer.json or tiktoken.model, and tokenizer_config.json. The input is a text that
 * stands for the folder (memory_files.h), with a text to encode under the name "text". What the tokenizer can say in
 * GGUF keys must give the same ids when it is read back: that is what `sluice quantize` relies on. */
#include <stdlib.h>
#include <string.h>

#include "engine/engine_internal.h"
#include "memory_files.h"
#include "mutate.h"
#include "open.h"

/* Both tokenizers give the same ids for the text. */
static void compare(const struct vocab *v, const struct vocab *w, const char *text, size_t n)
{
    struct failure f = {0};
    size_t v_n = 0, w_n = 0;
    int32_t v_ids[256], w_ids[256];
    sluice_status s = vocab_encode(v, text, n, VOCAB_PARSE_SPECIAL, v_ids, 256, &v_n, &f);
    sluice_status t = vocab_encode(w, text, n, VOCAB_PARSE_SPECIAL, w_ids, 256, &w_n, &f);
    if (s || t) return; /* a text beyond a match limit */
    if (v_n != w_n) fuzz_broken("%zu ids, but %zu by the GGUF keys", v_n, w_n);
    if (memcmp(v_ids, w_ids, (v_n < 256 ? v_n : 256) * sizeof *v_ids) != 0) fuzz_broken("other ids by the GGUF keys");
}

static void describe(const struct vocab *v, const char *text, size_t n)
{
    struct vocab_source source;
    struct vocab *again;
    struct failure f = {0};
    bool exact;
    sluice_status s = vocab_describe(v, 0, &source, &exact, &f);
    fuzz_check_failure(s, &f);
    if (s) return;
    s = vocab_create_gguf(&again, &source, &f);
    fuzz_check_failure(s, &f);
    if (s && exact) fuzz_broken("cannot be read back: %s", f.text);
    if (!s && exact) compare(v, again, text, n);
    vocab_free(&again);
    vocab_source_free(&source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char usual[] = "Hello, w\xc3\xb6rld 12345\n  <s>\t\xf0\x9f\x98\x80 don't";
    const char *text;
    size_t text_n;
    struct failure f;
    struct vocab *v;
    memory_files_unpack(data, n, &text, &text_n);
    if (!text) {
        text = usual;
        text_n = sizeof usual - 1;
    }
    struct archive *a = open_checked(MEMORY_FOLDER, 0, &f);
    if (a) {
        sluice_status s = open_folder_vocab(&v, a, &f);
        fuzz_check_failure(s, &f);
        archive_close(&a); /* the tokenizer must not need it */
        if (!s && v) {
            try_vocab(v, text, text_n);
            describe(v, text, text_n);
        }
        vocab_free(&v);
    }
    memory_files_clear();
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t capacity, unsigned seed)
{
    struct fuzz_random r = {seed};
    return mutate_json(data, n, capacity, &r);
}
