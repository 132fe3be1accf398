/* Tests of tools/args.c: one small table of options, good and bad command lines. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tools/args.h"

struct values {
    const char *model, *text;
    struct option_integer n, chunk;
    struct option_real share;
    struct option_texts stops;
    struct option_integers sizes;
    bool flag;
};

#define FIELD(name) .offset = offsetof(struct values, name)
/* clang-format off */
static const struct option options[] = {
    {.name = "model", .letter = 'm', .kind = OPTION_TEXT, .operand = true, FIELD(model), .value_name = "MODEL",
     .help = "the model"},
    {.name = "text", .letter = 'p', .kind = OPTION_TEXT, FIELD(text), .value_name = "TEXT", .help = "a text"},
    {.letter = 'n', .kind = OPTION_INTEGER, FIELD(n), .value_name = "N", .low = 0, .high = 1000000, .initial = "256",
     .help = "how many"},
    {.name = "chunk", .kind = OPTION_INTEGER, FIELD(chunk), .value_name = "N", .low = 1, .high = 9007199254740991.0,
     .help = "a large number"},
    {.name = "top-p", .kind = OPTION_REAL, FIELD(share), .value_name = "P", .low = 0, .high = 1, .low_open = true,
     .help = "a share"},
    {.name = "stop", .kind = OPTION_TEXTS, FIELD(stops), .value_name = "TEXT", .help = "end here"},
    {.name = "sizes", .kind = OPTION_INTEGERS, FIELD(sizes), .value_name = "N,..", .low = 1, .high = 4096,
     .initial = "1,32", .help = "several numbers"},
    {.name = "flag", .kind = OPTION_FLAG, FIELD(flag), .help = "yes"},
};
/* clang-format on */
static const struct command command = {
    .name = "try",
    .summary = "tries",
    .usage = "[MODEL]",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .values_bytes = sizeof(struct values),
};

/* clang-format off */
static const struct option required_options[] = {
    {.name = "output", .letter = 'o', .kind = OPTION_TEXT, .required = true, FIELD(text), .value_name = "OUT",
     .help = "a file"},
};
/* clang-format on */
static const struct command demanding = {
    .name = "demand",
    .summary = "demands",
    .usage = "-o OUT",
    .options = required_options,
    .n_options = 1,
    .values_bytes = sizeof(struct values),
};

static struct values values;
static sluice_error error;
static bool help;

/* Parses the arguments up to NULL. */
static sluice_status parse_for(const struct command *c, char *const *argv)
{
    int argc = 0;
    while (argv[argc]) argc++;
    error.text[0] = 0;
    return args_parse(c, argc, argv, &values, &help, &error);
}
#define PARSE(...) parse_for(&command, (char *[]){__VA_ARGS__, NULL})
#define EXPECT_ERROR(sentence, ...)                        \
    do {                                                   \
        cr_expect_eq(PARSE(__VA_ARGS__), SLUICE_ARGUMENT); \
        cr_expect_str_eq(error.text, sentence);            \
    } while (0)

Test(args, absent_options_have_the_initial_values_of_the_table)
{
    char *none[] = {NULL};
    cr_assert_eq(parse_for(&command, none), SLUICE_OK);
    cr_expect_null(values.model);
    cr_expect_null(values.text);
    cr_expect_eq(values.n.value, 256);
    cr_expect_not(values.n.given);
    cr_expect_eq(values.chunk.value, 0);
    cr_expect_not(values.share.given);
    cr_expect_eq(values.stops.count, 0);
    cr_expect_not(values.sizes.given);
    cr_expect(values.sizes.count == 2 && values.sizes.items[0] == 1 && values.sizes.items[1] == 32);
    cr_expect_not(values.flag);
}

Test(args, a_value_may_be_attached_or_follow)
{
    cr_expect_eq(PARSE("-n", "5"), SLUICE_OK);
    cr_expect(values.n.given && values.n.value == 5);
    cr_expect_eq(PARSE("-n7"), SLUICE_OK);
    cr_expect_eq(values.n.value, 7);
    cr_expect_eq(PARSE("--top-p", "0.7"), SLUICE_OK);
    cr_expect_float_eq(values.share.value, 0.7, 1e-15);
    cr_expect_eq(PARSE("--top-p=1e-1"), SLUICE_OK);
    cr_expect_float_eq(values.share.value, 0.1, 1e-15);
    cr_expect_eq(PARSE("--text="), SLUICE_OK);
    cr_expect_str_empty(values.text);
    cr_expect_eq(PARSE("-p", "-n"), SLUICE_OK);
    cr_expect_str_eq(values.text, "-n");
    cr_expect_eq(PARSE("--text", "a=b"), SLUICE_OK);
    cr_expect_str_eq(values.text, "a=b");
}

Test(args, a_bare_argument_is_the_operand)
{
    cr_expect_eq(PARSE("folder", "--flag"), SLUICE_OK);
    cr_expect_str_eq(values.model, "folder");
    cr_expect(values.flag);
    cr_expect_eq(PARSE("--flag", "--", "--flag"), SLUICE_OK);
    cr_expect_str_eq(values.model, "--flag");
    cr_expect_eq(PARSE("-"), SLUICE_OK);
    cr_expect_str_eq(values.model, "-");
    EXPECT_ERROR("unexpected argument \"b\" (MODEL is already named)", "a", "b");
    EXPECT_ERROR("unexpected argument \"b\" (MODEL is already named)", "-m", "a", "b");
    EXPECT_ERROR("-m: MODEL is already named", "a", "--model=b");
}

Test(args, the_last_of_equal_options_counts_and_texts_add_up)
{
    cr_expect_eq(PARSE("-n1", "-n2", "--stop", "a", "--stop=b"), SLUICE_OK);
    cr_expect_eq(values.n.value, 2);
    cr_assert_eq(values.stops.count, 2);
    cr_expect_str_eq(values.stops.items[0], "a");
    cr_expect_str_eq(values.stops.items[1], "b");
    char *many[2 * OPTION_MAX_TEXTS + 3];
    for (int i = 0; i <= OPTION_MAX_TEXTS; i++) {
        many[2 * i] = "--stop";
        many[2 * i + 1] = "x";
    }
    many[2 * OPTION_MAX_TEXTS + 2] = NULL;
    cr_expect_eq(parse_for(&command, many), SLUICE_ARGUMENT);
    cr_expect_str_eq(error.text, "--stop: given more than 16 times");
}

Test(args, a_list_replaces_the_initial_one_and_every_number_is_checked)
{
    cr_expect_eq(PARSE("--sizes", "7,4096,7"), SLUICE_OK);
    cr_expect(values.sizes.given && values.sizes.count == 3);
    cr_expect(values.sizes.items[0] == 7 && values.sizes.items[1] == 4096 && values.sizes.items[2] == 7);
    cr_expect_eq(PARSE("--sizes=1", "--sizes=2"), SLUICE_OK);
    cr_expect(values.sizes.count == 1 && values.sizes.items[0] == 2);
    EXPECT_ERROR("--sizes: found 0, expected 1..4096 each", "--sizes=1,0");
    EXPECT_ERROR("--sizes: found \"\", expected a whole number 1..4096 each", "--sizes=1,,2");
    EXPECT_ERROR("--sizes: found \"\", expected a whole number 1..4096 each", "--sizes=1,");
    EXPECT_ERROR("--sizes: found \"\", expected a whole number 1..4096 each", "--sizes=");
    EXPECT_ERROR("--sizes: found \"2 \", expected a whole number 1..4096 each", "--sizes=2 ,3");
    EXPECT_ERROR("--sizes: found 9999999999999999999999999999999, expected 1..4096 each", "--sizes",
                 "99999999999999999999999999999999999999999999");
    char many[4 * OPTION_MAX_INTEGERS] = "1";
    for (int i = 0; i < OPTION_MAX_INTEGERS; i++) strcat(many, ",1");
    EXPECT_ERROR("--sizes: more than 32 numbers", "--sizes", many);
}

Test(args, numbers_are_parsed_strictly)
{
    static const char *const wrong[] = {"", " 5", "5 ", "5x", "0x10", "1e3", "five", "-", "+", "1.0"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_expect_eq(PARSE("-n", (char *)wrong[i]), SLUICE_ARGUMENT, "%s", wrong[i]);
        cr_expect(strstr(error.text, "expected a whole number 0..1000000"), "%s", error.text);
    }
    static const char *const not_real[] = {"", "nan", "inf", "0x1p-2", "0.5 ", "half", "1e", "--1", "1e999"};
    for (size_t i = 0; i < sizeof not_real / sizeof *not_real; i++) {
        cr_expect_eq(PARSE("--top-p", (char *)not_real[i]), SLUICE_ARGUMENT, "%s", not_real[i]);
        cr_expect(strstr(error.text, "expected a number 0 < P <= 1"), "%s", error.text);
    }
}

Test(args, a_range_error_names_option_value_and_range)
{
    EXPECT_ERROR("-n: found -1, expected 0..1000000", "-n", "-1");
    EXPECT_ERROR("-n: found 1000001, expected 0..1000000", "-n1000001");
    EXPECT_ERROR("-n: found 99999999999999999999999, expected 0..1000000", "-n", "99999999999999999999999");
    EXPECT_ERROR("--top-p: found 0, expected 0 < P <= 1", "--top-p", "0");
    EXPECT_ERROR("--top-p: found 1.5, expected 0 < P <= 1", "--top-p=1.5");
    EXPECT_ERROR("--chunk: found 0, expected 1..9007199254740991", "--chunk=0");
    EXPECT_ERROR("--chunk: found 9007199254740992, expected 1..9007199254740991", "--chunk=9007199254740992");
    cr_expect_eq(PARSE("--chunk=9007199254740991"), SLUICE_OK);
    cr_expect_eq(values.chunk.value, INT64_C(9007199254740991));
}

Test(args, what_is_missing_or_too_much_is_named)
{
    EXPECT_ERROR("-n: the value N is missing", "-n");
    EXPECT_ERROR("--top-p: the value P is missing", "--flag", "--top-p");
    EXPECT_ERROR("--flag: takes no value", "--flag=1");
    cr_expect_eq(parse_for(&demanding, (char *[]){NULL}), SLUICE_ARGUMENT);
    cr_expect_str_eq(error.text, "-o OUT is missing: sluice demand -o OUT");
    cr_expect_eq(parse_for(&demanding, (char *[]){"-o", "x", NULL}), SLUICE_OK);
}

Test(args, an_unknown_option_gets_the_nearest_name)
{
    EXPECT_ERROR("unknown option \"--topp\", did you mean --top-p?", "--topp");
    EXPECT_ERROR("unknown option \"--chnuk\", did you mean --chunk?", "--chnuk=3");
    EXPECT_ERROR("unknown option \"--mod\", did you mean --model?", "--mod");
    EXPECT_ERROR("unknown option \"--whatever\" (sluice try --help lists them)", "--whatever");
    EXPECT_ERROR("unknown option \"-x\" (sluice try --help lists them)", "-x");
    EXPECT_ERROR("unknown option \"--a\\nb\\x1b\" (sluice try --help lists them)", "--a\nb\x1b");
}

Test(args, help_ends_parsing_and_needs_nothing_else)
{
    cr_expect_eq(PARSE("--flag", "--help", "--nonsense"), SLUICE_OK);
    cr_expect(help);
    cr_expect_eq(parse_for(&demanding, (char *[]){"-h", NULL}), SLUICE_OK);
    cr_expect(help);
    cr_expect_eq(PARSE("--flag"), SLUICE_OK);
    cr_expect_not(help);
}

Test(args, help_shows_every_option_with_range_and_default)
{
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);
    args_print_help(to, &command);
    fclose(to);
    cr_expect(strstr(text, "usage: sluice try [MODEL]\n"));
    cr_expect(strstr(text, "  -m, --model MODEL"));
    cr_expect(strstr(text, "how many (0..1000000, default 256)\n"));
    cr_expect(strstr(text, "a share (0 < P <= 1)\n"));
    cr_expect(strstr(text, "several numbers (1..4096 each, default 1,32)\n"));
    for (const char *line = text; *line; line = strchr(line, '\n') + 1)
        cr_expect_leq(strcspn(line, "\n"), 100, "%.*s", (int)strcspn(line, "\n"), line);
    free(text);
}

Test(args, an_operand_may_stand_for_several_files)
{
    static const struct option files[] = {
        {.name = "file", .kind = OPTION_TEXTS, .operand = true, .required = true, FIELD(stops), .value_name = "FILE"},
        {.name = "flag", .kind = OPTION_FLAG, FIELD(flag)},
    };
    static const struct command many = {
        .name = "many", .usage = "FILE...", .options = files, .n_options = 2, .values_bytes = sizeof(struct values)};
    struct values v;
    char *none[] = {"--flag"}, *three[] = {"a", "--flag", "--file", "b", "--", "-c"}, *too_many[OPTION_MAX_TEXTS + 1];
    for (int i = 0; i <= OPTION_MAX_TEXTS; i++) too_many[i] = "x";
    cr_expect_eq(args_parse(&many, 1, none, &v, &help, &error), SLUICE_ARGUMENT);
    cr_expect_str_eq(error.text, "--file FILE is missing: sluice many FILE...");
    cr_assert_eq(args_parse(&many, 6, three, &v, &help, &error), SLUICE_OK);
    cr_assert_eq(v.stops.count, 3u);
    cr_expect_str_eq(v.stops.items[0], "a");
    cr_expect_str_eq(v.stops.items[1], "b");
    cr_expect_str_eq(v.stops.items[2], "-c");
    cr_expect(v.flag);
    cr_expect_eq(args_parse(&many, OPTION_MAX_TEXTS + 1, too_many, &v, &help, &error), SLUICE_ARGUMENT);
    cr_expect_str_eq(error.text, "--file: given more than 16 times");
}

Test(args, the_nearest_name_is_near)
{
    static const char *const names[] = {"run", "inspect", "tokenize"};
    cr_expect_str_eq(args_nearest("insepct", names, 3), "inspect");
    cr_expect_str_eq(args_nearest("token", names, 3), "tokenize");
    cr_expect_str_eq(args_nearest("rum", names, 3), "run");
    cr_expect_null(args_nearest("serve", names, 3));
    cr_expect_null(args_nearest("", names, 3));
    cr_expect_null(args_nearest("x", names, 3));
    cr_expect_null(args_nearest("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", names, 3));
}
