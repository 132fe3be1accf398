/* Text -> ids -> text with fixed tokenizers, chosen by the first byte of the input. Where nothing of the text is lost
 * by design, the text must come back byte for byte. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "open.h"

static struct fixed {
    const char *name;
    bool comes_back;     /* decode(encode(text)) is the text */
    const char *not_of;  /* but not of texts with this in it; or NULL */
    struct vocab *vocab; /* NULL: not read yet */
} all[] = {
    {"llama3", true, NULL, NULL},             /* bytes, merges ignored for whole words */
    {"metaspace_first", false, NULL, NULL},   /* SentencePiece, byte fallback, NFKC */
    {"gemma", true, "\xe2\x96\x81", NULL},    /* no words: the whole text is merged; a blank is written as U+2581 */
    {"behaviors", false, NULL, NULL},         /* every way to cut */
    {"whitespace", false, NULL, NULL},        /* normalizers that lose accents and case */
    {"o200k", true, NULL, NULL},              /* the longest pattern */
};

/* tests/golden/tokenizers/NAME.tokenizer.json.xz, once. */
static struct vocab *load(const char *name)
{
    char command[512];
    char *json = fuzz_need(malloc(8 << 20));
    struct failure f = {0};
    struct vocab *v;
    snprintf(command, sizeof command, "xz -dc '%s/golden/tokenizers/%s.tokenizer.json.xz'", SLUICE_TEST_DIR, name);
    FILE *pipe = fuzz_need(popen(command, "r"));
    size_t n = fread(json, 1, 8 << 20, pipe);
    pclose(pipe);
    if (vocab_create(&v, json, n, NULL, 0, &f)) fuzz_broken("%s: %s", name, f.text);
    free(json);
    return v;
}

static void check_round_trip(const struct vocab *v, const char *text, size_t n)
{
    struct failure f = {0};
    size_t count;
    sluice_status s = vocab_encode(v, text, n, VOCAB_NO_BOS, NULL, 0, &count, &f);
    fuzz_check_failure(s, &f);
    if (s) return; /* not UTF-8 */
    int32_t *ids = fuzz_need(malloc((count ? count : 1) * sizeof *ids));
    if (vocab_encode(v, text, n, VOCAB_NO_BOS, ids, count, &count, &f)) fuzz_broken("fails the second time");
    struct text_decoder d;
    struct text_buffer out = {0};
    text_decoder_init(&d, v, VOCAB_DECODE_SPECIAL);
    for (size_t i = 0; i < count; i++)
        if (text_decoder_push(&d, ids[i], &out)) fuzz_broken("decoding fails");
    if (text_decoder_finish(&d, &out)) fuzz_broken("decoding fails at the end");
    if (out.n != n || (n && memcmp(out.data, text, n) != 0)) fuzz_broken("another text comes back (%zu bytes)", out.n);
    text_buffer_free(&out);
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0) return 0;
    struct fixed *t = &all[data[0] % (sizeof all / sizeof *all)];
    if (!t->vocab) t->vocab = load(t->name);
    n--;
    char *text = fuzz_need(malloc(n ? n : 1)); /* a block of exactly the length */
    if (n) memcpy(text, data + 1, n);
    try_vocab(t->vocab, text, n);
    if (t->comes_back && !(t->not_of && memmem(text, n, t->not_of, strlen(t->not_of))))
        check_round_trip(t->vocab, text, n);
    free(text);
    return 0;
}
