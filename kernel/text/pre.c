/* Owns the pre-tokenizers that GGUF files name instead of describing ("tokenizer.ggml.pre"): which name means which
 * steps. The patterns are those that the tokenizers were published with, in the dialect of tokenizer.json
 * (pattern_dialect.c). Read next: pretokenize.c, which runs the steps; vocab_gguf.c. */
#include <string.h>

#include "text/vocab_internal.h"

/* ---- the patterns ----------------------------------------------------------------------------------------------- */

#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define BLANKS      "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

#define GPT2        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* Words of letters L after one other character, numbers as `digits` says, runs of what is neither. */
#define WORDS(digits) "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" BLANKS
#define LLAMA3        CONTRACTION "|" WORDS("\\p{N}{1,3}")
#define QWEN2         CONTRACTION "|" WORDS("\\p{N}")
#define QWEN35                                                   \
    CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}|" \
                " ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" BLANKS

/* As LLAMA3, but a word changes from capitals to small letters once at most. */
#define CAPITALS "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}"
#define SMALL    "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"
#define CASED(but, end)                                                 \
    "[^\\r\\n\\p{L}\\p{N}]?[" CAPITALS but "]*[" SMALL but "]+" end "|" \
    "[^\\r\\n\\p{L}\\p{N}]?[" CAPITALS but "]+[" SMALL but "]*" end "|"
#define O200K  CASED("", CONTRACTION "?") "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" BLANKS
#define TEKKEN CASED("", "") "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" BLANKS
#define YOUTU  CASED("", CONTRACTION "?") "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" BLANKS
#define KIMI_K2 \
    "[\\p{Han}]+|" CASED("&&[^\\p{Han}]", CONTRACTION "?") "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" BLANKS

#define BAILING                                                                                                 \
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|" \
    "\\s+(?!\\S)|\\s+"
#define SEED_CODER CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" BLANKS
#define EXAONE_MOE                                                                                                     \
    CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|" \
                "\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"

#define HAN_KANA "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+"
#define HAN_MORE "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+" /* sic */
#define ASIAN_SCRIPTS                                                                                  \
    "[\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{f900}-\\x{faff}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}" \
    "\\x{ff65}-\\x{ff9f}\\x{2f00}-\\x{2fdf}\\x{e40}-\\x{e7f}\\x{e80}-\\x{eff}\\x{1780}-\\x{17ff}"      \
    "\\x{1000}-\\x{109f}\\x{aa60}-\\x{aa7f}\\x{a9e0}-\\x{a9ff}\\x{ac00}-\\x{d7af}\\x{1100}-\\x{11ff}]+"
#define YOUTU_SCRIPTS                                                                                            \
    "[\\x{ac00}-\\x{d7a3}\\x{3131}-\\x{318e}]+|[\\x{ff01}\\x{2026}\\x{201c}\\x{201d}\\x{2018}\\x{2019}\\x{2014}" \
    "\\x{ff1a}\\x{ff1b}\\x{ff0c}\\x{3001}-\\x{303f}\\x{fe30}-\\x{fe4f}]+|[\\x{3105}-\\x{312f}]+|" HAN_KANA

/* DeepSeek V3: a sign of ASCII goes with the Latin word behind it. */
#define SIGN_WORD                                                                                        \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|" \
    " ?[\\p{P}\\p{S}]+"
#define DEEPSEEK3 SIGN_WORD "[\\r\\n]*|" BLANKS
#define SPARK     SIGN_WORD "|[\\r\\n]|\\s+(?!\\S)|\\s+"

/* DeepSeek LLM and V2: letters that have cases, as of the Unicode of its day. */
#define CASED_LETTERS                                                                                              \
    "A-Za-z\\x{b5}\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}\\x{f8}-\\x{1ba}\\x{1bc}-\\x{1bf}\\x{1c4}-\\x{293}"                \
    "\\x{295}-\\x{2af}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37b}-\\x{37d}\\x{37f}\\x{386}\\x{388}-\\x{38a}\\x{38c}" \
    "\\x{38e}-\\x{3a1}\\x{3a3}-\\x{3f5}\\x{3f7}-\\x{481}\\x{48a}-\\x{52f}\\x{531}-\\x{556}\\x{10a0}-\\x{10c5}"     \
    "\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{1d2b}"              \
    "\\x{1d6b}-\\x{1d77}\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}"              \
    "\\x{1f48}-\\x{1f4d}\\x{1f50}-\\x{1f57}\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}"      \
    "\\x{1fb6}-\\x{1fbc}\\x{1fbe}\\x{1fc2}-\\x{1fc4}\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}"     \
    "\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{1ff4}\\x{1ff6}-\\x{1ffc}\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}"      \
    "\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}\\x{212a}-\\x{212d}\\x{212f}-\\x{2134}\\x{2139}"                \
    "\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{2184}\\x{2c00}-\\x{2c7b}\\x{2c7e}-\\x{2ce4}"      \
    "\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{a69b}\\x{a722}-\\x{a76f}"               \
    "\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{fb17}"              \
    "\\x{ff21}-\\x{ff3a}\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}"        \
    "\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}"
#define DEEPSEEK_SIGNS "\\s?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+"

#define BLOOM          " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+"

const char pattern_of_gpt2[] = GPT2;

/* ---- recipes: passes one after the other, each inside the pieces of those before -------------------------------- */

/* Three steps are not run as patterns: one class of characters is faster and knows newer characters, and grouping
 * digits from the right by look-ahead is quadratic. */
static const char each_number[] = "\\p{N}", number_runs[] = "\\p{N}+";
static const char digits_by_three[] = "\\d{1,3}(?=(?:\\d{3})*\\b)", numbers_by_three[] = "numbers by three";

enum recipe {
    RECIPE_GPT2,
    RECIPE_DIGITS_GPT2,
    RECIPE_LLAMA3,
    RECIPE_QWEN2,
    RECIPE_QWEN35,
    RECIPE_O200K,
    RECIPE_TEKKEN,
    RECIPE_DEEPSEEK3,
    RECIPE_DEEPSEEK_LLM,
    RECIPE_DEEPSEEK_CODER,
    RECIPE_BAILING,
    RECIPE_KIMI_K2,
    RECIPE_AFMOE,
    RECIPE_FALCON,
    RECIPE_LAGUNA,
    RECIPE_COHERE2_MOE,
    RECIPE_MINICPM5,
    RECIPE_SPARK,
    RECIPE_YOUTU,
    RECIPE_SEED_CODER,
    RECIPE_EXAONE_MOE,
    RECIPE_UFAKZEKA,
    RECIPE_BLOOM,
    RECIPE_VIKING,
    RECIPE_DEFAULT,
    N_RECIPES
};

enum { MAX_PASSES = 6 };

/* clang-format off */
static const char *const recipes[N_RECIPES][MAX_PASSES] = {
    [RECIPE_GPT2] = {GPT2},
    [RECIPE_DIGITS_GPT2] = {each_number, GPT2},
    [RECIPE_LLAMA3] = {LLAMA3},
    [RECIPE_QWEN2] = {QWEN2},
    [RECIPE_QWEN35] = {QWEN35},
    [RECIPE_O200K] = {O200K},
    [RECIPE_TEKKEN] = {TEKKEN},
    [RECIPE_DEEPSEEK3] = {"\\p{N}{1,3}", HAN_KANA, DEEPSEEK3},
    [RECIPE_DEEPSEEK_LLM] = {"[\\r\\n]", "\\s?[" CASED_LETTERS "]+", DEEPSEEK_SIGNS, "\\s+$", HAN_MORE, number_runs},
    [RECIPE_DEEPSEEK_CODER] = {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", HAN_MORE, each_number},
    [RECIPE_BAILING] = {BAILING},
    [RECIPE_KIMI_K2] = {KIMI_K2},
    [RECIPE_AFMOE] = {numbers_by_three, ASIAN_SCRIPTS, DEEPSEEK3},
    [RECIPE_FALCON] = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"},
    [RECIPE_LAGUNA] = {"[^\\n]+|[\\n]+", QWEN2},
    [RECIPE_COHERE2_MOE] = {digits_by_three, O200K},
    [RECIPE_MINICPM5] = {"\\p{N}{1,3}", CONTRACTION "|" WORDS("\\p{N}+")},
    [RECIPE_SPARK] = {"\\p{N}{1,3}", HAN_KANA, SPARK, each_number},
    [RECIPE_YOUTU] = {YOUTU_SCRIPTS, YOUTU},
    [RECIPE_SEED_CODER] = {SEED_CODER},
    [RECIPE_EXAONE_MOE] = {EXAONE_MOE},
    [RECIPE_UFAKZEKA] = {WORDS("\\p{N}")},
    [RECIPE_BLOOM] = {BLOOM},
    [RECIPE_VIKING] = {BLOOM, each_number},
    [RECIPE_DEFAULT] = {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, number_runs, "[0-9][0-9][0-9]"},
};

/* Of several names for the same, pre_recognize gives the first. */
static const struct pre {
    const char *name;
    enum recipe recipe;
    unsigned flags; /* enum pre_flags */
} names[] = {
    {"gpt-2", RECIPE_GPT2, 0},
    {"mpt", RECIPE_GPT2, 0},
    {"olmo", RECIPE_GPT2, 0},
    {"phi-2", RECIPE_GPT2, 0},
    {"jais", RECIPE_GPT2, 0},
    {"gigachat", RECIPE_GPT2, 0},
    {"mellum", RECIPE_GPT2, 0},
    {"exaone4", RECIPE_GPT2, 0},
    {"trillion", RECIPE_GPT2, 0},
    {"a.x-4.0", RECIPE_GPT2, 0},
    {"granite-docling", RECIPE_GPT2, 0},
    {"starcoder", RECIPE_DIGITS_GPT2, 0},
    {"refact", RECIPE_DIGITS_GPT2, 0},
    {"command-r", RECIPE_DIGITS_GPT2, 0},
    {"smollm", RECIPE_DIGITS_GPT2, 0},
    {"codeshell", RECIPE_DIGITS_GPT2, 0},
    {"exaone", RECIPE_DIGITS_GPT2, 0},
    {"minerva-7b", RECIPE_DIGITS_GPT2, 0},
    {"mellum2", RECIPE_DIGITS_GPT2, 0},
    {"llama-bpe", RECIPE_LLAMA3, PRE_IGNORE_MERGES | PRE_ADD_BOS},
    {"llama3", RECIPE_LLAMA3, PRE_IGNORE_MERGES | PRE_ADD_BOS},
    {"llama-v3", RECIPE_LLAMA3, PRE_IGNORE_MERGES | PRE_ADD_BOS},
    {"falcon3", RECIPE_LLAMA3, PRE_IGNORE_MERGES | PRE_ADD_BOS},
    {"falcon-h1", RECIPE_LLAMA3, PRE_IGNORE_MERGES | PRE_ADD_BOS},
    {"pixtral", RECIPE_LLAMA3, PRE_IGNORE_MERGES | PRE_ADD_BOS},
    {"midm-2.0", RECIPE_LLAMA3, PRE_IGNORE_MERGES | PRE_ADD_BOS},
    {"lfm2", RECIPE_LLAMA3, PRE_IGNORE_MERGES | PRE_ADD_BOS},
    {"dbrx", RECIPE_LLAMA3, 0},
    {"smaug-bpe", RECIPE_LLAMA3, 0},
    {"glm4", RECIPE_LLAMA3, 0},
    {"chatglm-bpe", RECIPE_LLAMA3, 0},
    {"qwen2", RECIPE_QWEN2, PRE_NFC},
    {"hunyuan", RECIPE_QWEN2, 0},
    {"stablelm2", RECIPE_QWEN2, 0},
    {"deepseek-r1-qwen", RECIPE_QWEN2, 0},
    {"megrez", RECIPE_QWEN2, 0},
    {"solar-open", RECIPE_QWEN2, 0},
    {"grok-2", RECIPE_QWEN2, 0},
    {"kormo", RECIPE_QWEN2, 0},
    {"qwen35", RECIPE_QWEN35, PRE_NFC},
    {"gpt-4o", RECIPE_O200K, 0},
    {"llama4", RECIPE_O200K, 0},
    {"minimax-m2", RECIPE_O200K, 0},
    {"kanana2", RECIPE_O200K, 0},
    {"tekken", RECIPE_TEKKEN, PRE_IGNORE_MERGES | PRE_ADD_BOS},
    {"deepseek-v3", RECIPE_DEEPSEEK3, 0},
    {"hunyuan-dense", RECIPE_DEEPSEEK3, 0},
    {"joyai-llm", RECIPE_DEEPSEEK3, 0},
    {"hy_v4", RECIPE_DEEPSEEK3, 0},
    {"deepseek-llm", RECIPE_DEEPSEEK_LLM, 0},
    {"deepseek-coder", RECIPE_DEEPSEEK_CODER, 0},
    {"bailingmoe", RECIPE_BAILING, 0},
    {"bailingmoe2", RECIPE_BAILING, 0},
    {"llada-moe", RECIPE_BAILING, 0},
    {"kimi-k2", RECIPE_KIMI_K2, 0},
    {"afmoe", RECIPE_AFMOE, 0},
    {"falcon", RECIPE_FALCON, 0},
    {"laguna", RECIPE_LAGUNA, 0},
    {"cohere2moe", RECIPE_COHERE2_MOE, 0},
    {"tiny_aya", RECIPE_COHERE2_MOE, 0},
    {"minicpm5", RECIPE_MINICPM5, PRE_IGNORE_MERGES},
    {"spark2_5", RECIPE_SPARK, 0},
    {"youtu", RECIPE_YOUTU, PRE_IGNORE_MERGES},
    {"seed-coder", RECIPE_SEED_CODER, 0},
    {"exaone-moe", RECIPE_EXAONE_MOE, 0},
    {"ufakzeka", RECIPE_UFAKZEKA, 0},
    {"bloom", RECIPE_BLOOM, 0},
    {"gpt3-finnish", RECIPE_BLOOM, 0},
    {"poro-chat", RECIPE_BLOOM, 0},
    {"viking", RECIPE_VIKING, 0},
    {"default", RECIPE_DEFAULT, 0},
};
/* clang-format on */

enum { N_NAMES = sizeof names / sizeof *names };

/* ---- by name ---------------------------------------------------------------------------------------------------- */

static sluice_status add_pass(struct vocab *v, const char *text, struct failure *f)
{
    struct pretokenizer step = {.kind = PRETOKENIZE_SPLIT_CLASS, .class = CLASS_NUMERIC};
    sluice_status status = SLUICE_OK;
    if (text == each_number) {
        step.behavior = SPLIT_ISOLATED;
    } else if (text == number_runs) {
        step.behavior = SPLIT_CONTIGUOUS;
    } else if (text == numbers_by_three || text == digits_by_three) {
        step.kind = PRETOKENIZE_GROUP_DIGITS;
        step.alone = text == digits_by_three;
        if (step.alone) step.class = CLASS_DIGIT;
    } else {
        step.kind = PRETOKENIZE_SPLIT_PATTERN;
        status = pattern_create(&step.pattern, text, strlen(text), false, f);
    }
    return status ? status : pretokenizer_add(v, step, f);
}

sluice_status pre_load(struct vocab *v, const char *name, unsigned *flags, struct failure *f)
{
    size_t i = 0;
    while (i < N_NAMES && strcmp(names[i].name, name) != 0) i++;
    char shown[ESCAPED_BYTES];
    if (i == N_NAMES)
        return fail(f, SLUICE_UNSUPPORTED, "pre-tokenizer \"%s\" is not known",
                    escape_text(shown, sizeof shown, name, strlen(name)));
    const char *const *passes = recipes[names[i].recipe];
    *flags = names[i].flags;
    for (size_t k = 0; k < MAX_PASSES && passes[k]; k++) {
        sluice_status status = add_pass(v, passes[k], f);
        if (status) return status;
    }
    if (*flags & PRE_NFC)
        v->normalizers[v->n_normalizers++] = (struct normalizer){.kind = NORMALIZE_UNICODE, .compose = true};
    return pretokenizer_add(v, (struct pretokenizer){.kind = PRETOKENIZE_MAP_BYTES}, f);
}

/* ---- the other way: from the steps to the name ------------------------------------------------------------------ */

/* The next character of a pattern, written as itself or as \n, \r, \x{...} or \u.... */
static size_t read_char(const char *text, size_t n, int32_t *c)
{
    static const char hex[] = "0123456789abcdef";
    if (text[0] != '\\' || n < 2) return utf8_read(text, c);
    if (text[1] == 'n' || text[1] == 'r') {
        *c = text[1] == 'n' ? '\n' : '\r';
        return 2;
    }
    bool braces = n > 2 && text[1] == 'x' && text[2] == '{';
    size_t at = braces ? 3 : 2, end = braces ? n : 6;
    if ((!braces && text[1] != 'u') || end > n) return utf8_read(text, c);
    *c = 0;
    for (const char *digit; at < end && (digit = strchr(hex, text[at] | 32)) && *digit; at++)
        *c = (int32_t)((uint32_t)*c << 4 | (uint32_t)(digit - hex)); /* bounded: a digit is less than 16 */
    return braces ? at + 1 : at;
}

/* The same pattern, but for how it spells line ends and characters beyond ASCII. */
static bool same_text(const char *a, size_t n_a, const char *b, size_t n_b)
{
    while (n_a > 0 && n_b > 0) {
        int32_t c, d;
        size_t at = read_char(a, n_a, &c), bt = read_char(b, n_b, &d);
        if (c != d || at > n_a || bt > n_b) return false;
        a += at;
        n_a -= at;
        b += bt;
        n_b -= bt;
    }
    return n_a == n_b;
}

static bool is_pass(const struct pretokenizer *step, const char *text, bool loosely)
{
    if (step->kind == PRETOKENIZE_SPLIT_CLASS && step->class == CLASS_NUMERIC) {
        if (loosely && (text == each_number || text == number_runs)) return true;
        return (step->behavior == SPLIT_ISOLATED && strcmp(text, each_number) == 0) ||
               (step->behavior == SPLIT_CONTIGUOUS && strcmp(text, number_runs) == 0);
    }
    if (step->kind == PRETOKENIZE_GROUP_DIGITS) return text == (step->alone ? digits_by_three : numbers_by_three);
    if (step->kind != PRETOKENIZE_SPLIT_PATTERN) return false;
    size_t n;
    bool literal;
    const char *pattern = pattern_text(step->pattern, &n, &literal);
    if (literal || !same_text(pattern, n, text, strlen(text))) return false;
    /* Patterns that end in \s+ match every character: then "keep the matches only" means the same. */
    size_t length = strlen(text);
    bool complete = length > 4 && strcmp(text + length - 4, "|\\s+") == 0;
    return step->behavior == SPLIT_ISOLATED || (complete && step->behavior == SPLIT_REMOVED && step->invert);
}

static bool is_recipe(const struct vocab *v, const char *const *passes, bool loosely)
{
    size_t n = 0;
    while (n < MAX_PASSES && passes[n]) n++;
    if (v->n_pretokenizers != n + 1 || v->pretokenizers[n].kind != PRETOKENIZE_MAP_BYTES) return false;
    for (size_t i = 0; i < n; i++)
        if (!is_pass(&v->pretokenizers[i], passes[i], loosely)) return false;
    return true;
}

static const char *recognize(const struct vocab *v, unsigned flags, bool loosely)
{
    for (size_t i = 0; i < N_NAMES; i++)
        if ((names[i].flags & ~(unsigned)PRE_ADD_BOS) == flags && is_recipe(v, recipes[names[i].recipe], loosely))
            return names[i].name;
    return NULL;
}

/* First a name that says the same about whole words, if the merges leave that open. Last a name that differs in how
 * runs of digits are cut: the files of DeepSeek V2 cut each digit, the name that all use for them takes runs. */
const char *pre_recognize(const struct vocab *v, bool complete, bool *near)
{
    const struct normalizer *first = v->normalizers;
    bool nfc = v->n_normalizers == 1 && first->kind == NORMALIZE_UNICODE && first->compose && !first->compatibility;
    *near = false;
    if (v->n_normalizers > 0 && !nfc) return NULL;
    unsigned flags = nfc ? PRE_NFC : 0;
    const char *name = recognize(v, flags | (v->ignore_merges ? PRE_IGNORE_MERGES : 0), false);
    if (name) return name;
    *near = v->ignore_merges && !complete;
    if ((name = recognize(v, flags, false))) return name;
    *near = true;
    return recognize(v, flags, true);
}
