/* Owns parsing of the command line against a table of options, and the help text made from the same table. */
#include "args.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

enum { MAX_NAME = 31, HELP_COLUMN = 30, HELP_WIDTH = 100 };

/* "-n" or "--temp", as messages call an option. */
struct option_label {
    char text[MAX_NAME + 3];
};

static struct option_label label_of(const struct option *o)
{
    struct option_label label;
    if (o->letter)
        snprintf(label.text, sizeof label.text, "-%c", o->letter);
    else
        snprintf(label.text, sizeof label.text, "--%s", o->name);
    return label;
}

/* ---- finding the nearest name ---------------------------------------------------------------------------------- */

/* Levenshtein distance, one row of the table at a time. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[MAX_NAME + 1], n = strlen(b);
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < n; j++) {
            size_t best = diagonal + (a[i] != b[j]);
            if (row[j + 1] + 1 < best) best = row[j + 1] + 1;
            if (row[j] + 1 < best) best = row[j] + 1;
            diagonal = row[j + 1];
            row[j + 1] = best;
        }
    }
    return row[n];
}

const char *args_nearest(const char *typed, const char *const *names, size_t n)
{
    const char *nearest = NULL;
    size_t length = strlen(typed), best = 3;
    if (length < 2 || length > MAX_NAME) return NULL;
    for (size_t i = 0; i < n; i++) {
        if (strlen(names[i]) > MAX_NAME) continue;
        /* A beginning of the name counts as one typing error. */
        size_t distance = strncmp(typed, names[i], length) == 0 ? 1 : edit_distance(typed, names[i]);
        if (distance < best && distance < length) {
            best = distance;
            nearest = names[i];
        }
    }
    return nearest;
}

static sluice_status unknown_option(const struct command *c, const char *typed, size_t length, sluice_error *error)
{
    const char *names[64], *nearest = NULL;
    char text[MAX_NAME + 1], shown[128];
    size_t n = 0;
    for (size_t i = 0; i < c->n_options && n < 64; i++)
        if (c->options[i].name) names[n++] = c->options[i].name;
    if (length > 2 && length - 2 <= MAX_NAME) {
        memcpy(text, typed + 2, length - 2);
        text[length - 2] = 0;
        nearest = args_nearest(text, names, n);
    }
    quote_bytes(shown, sizeof shown, typed, length);
    if (nearest) return set_error(error, SLUICE_ARGUMENT, "unknown option %s, did you mean --%s?", shown, nearest);
    return set_error(error, SLUICE_ARGUMENT, "unknown option %s (sluice %s --help lists them)", shown, c->name);
}

/* ---- values ---------------------------------------------------------------------------------------------------- */

/* "0..256" for integers, "0 < P <= 1" for reals. */
static void describe_range(char *out, size_t cap, const struct option *o)
{
    if (o->kind != OPTION_REAL)
        snprintf(out, cap, "%.0f..%.0f%s", o->low, o->high, o->kind == OPTION_INTEGERS ? " each" : "");
    else
        snprintf(out, cap, "%.6g %s %s %s %.6g", o->low, o->low_open ? "<" : "<=", o->value_name,
                 o->high_open ? "<" : "<=", o->high);
}

static bool in_range(const struct option *o, double value)
{
    bool above = o->low_open ? value > o->low : value >= o->low;
    bool below = o->high_open ? value < o->high : value <= o->high;
    return above && below;
}

/* Decimal digits only, with an optional sign; no blanks, no hexadecimal, no "inf". */
static bool parse_integer(const char *text, int64_t *out)
{
    bool negative = *text == '-';
    uint64_t value = 0;
    const char *p = text + (*text == '-' || *text == '+');
    if (!*p) return false;
    for (; *p; p++) {
        if (*p < '0' || *p > '9') return false;
        if (value < (uint64_t)INT64_MAX / 10)
            value = value * 10 + (uint64_t)(*p - '0');
        else
            value = INT64_MAX; /* beyond any range of a table */
    }
    *out = negative ? -(int64_t)value : (int64_t)value;
    return true;
}

static bool parse_real(const char *text, double *out)
{
    char *end;
    if (!*text || strspn(text, "0123456789.eE+-") != strlen(text)) return false;
    *out = strtod(text, &end);
    return !*end && isfinite(*out);
}

static sluice_status store_number(const struct option *o, const char *text, void *field, sluice_error *error)
{
    bool integer = o->kind != OPTION_REAL, parsed;
    int64_t whole = 0;
    double value = 0;
    if (integer) {
        parsed = parse_integer(text, &whole);
        value = (double)whole;
    } else {
        parsed = parse_real(text, &value);
    }
    if (!parsed || !in_range(o, value)) {
        char shown[96], range[96];
        if (parsed)
            snprintf(shown, sizeof shown, "%s", text);
        else
            quote_bytes(shown, sizeof shown, text, strlen(text));
        describe_range(range, sizeof range, o);
        return set_error(error, SLUICE_ARGUMENT, "%s: found %s, expected %s%s", label_of(o).text, shown,
                         parsed    ? ""
                         : integer ? "a whole number "
                                   : "a number ",
                         range);
    }
    if (integer)
        *(struct option_integer *)field = (struct option_integer){true, whole};
    else
        *(struct option_real *)field = (struct option_real){true, value};
    return SLUICE_OK;
}

static sluice_status store_list(const struct option *o, const char *text, struct option_integers *list,
                                sluice_error *error)
{
    *list = (struct option_integers){.given = true};
    for (const char *p = text;; p++) {
        struct option_integer one = {0};
        char piece[32]; /* a longer one is cut, and still too long for any range */
        size_t length = strcspn(p, ",");
        snprintf(piece, sizeof piece, "%.*s", length < sizeof piece ? (int)length : (int)sizeof piece, p);
        if (list->count == OPTION_MAX_INTEGERS)
            return set_error(error, SLUICE_ARGUMENT, "%s: more than %d numbers", label_of(o).text, OPTION_MAX_INTEGERS);
        sluice_status status = store_number(o, piece, &one, error);
        if (status) return status;
        list->items[list->count++] = one.value;
        p += length;
        if (!*p) return SLUICE_OK;
    }
}

static sluice_status store_value(const struct option *o, const char *text, void *values, sluice_error *error)
{
    void *field = (char *)values + o->offset;
    struct option_texts *texts = field;
    switch (o->kind) {
    case OPTION_FLAG: *(bool *)field = true; return SLUICE_OK;
    case OPTION_TEXT: *(const char **)field = text; return SLUICE_OK;
    case OPTION_TEXTS:
        if (texts->count == OPTION_MAX_TEXTS)
            return set_error(error, SLUICE_ARGUMENT, "%s: given more than %d times", label_of(o).text,
                             OPTION_MAX_TEXTS);
        texts->items[texts->count++] = text;
        return SLUICE_OK;
    case OPTION_INTEGERS: return store_list(o, text, field, error);
    case OPTION_INTEGER:
    case OPTION_REAL: break;
    }
    return store_number(o, text, field, error);
}

static sluice_status store_initial_values(const struct command *c, void *values, sluice_error *error)
{
    memset(values, 0, c->values_bytes);
    for (size_t i = 0; i < c->n_options; i++) {
        const struct option *o = &c->options[i];
        if (!o->initial) continue;
        sluice_status status = store_value(o, o->initial, values, error);
        if (status) return status;
        if (o->kind == OPTION_INTEGER) ((struct option_integer *)((char *)values + o->offset))->given = false;
        if (o->kind == OPTION_INTEGERS) ((struct option_integers *)((char *)values + o->offset))->given = false;
        if (o->kind == OPTION_REAL) ((struct option_real *)((char *)values + o->offset))->given = false;
    }
    return SLUICE_OK;
}

/* ---- arguments ------------------------------------------------------------------------------------------------- */

/* What has been seen on the way through argv. */
struct parser {
    const struct command *command;
    int argc, next; /* argv[next] is read next */
    char *const *argv;
    void *values;
    bool help;
    sluice_error *error;
};

/* True: an operand has its value, and takes no other. */
static bool is_named(const struct option *o, const void *values)
{
    const char *const *text = (const void *)((const char *)values + o->offset);
    return o->kind != OPTION_TEXTS && *text;
}

/* A bare argument goes to the first operand of the table that takes one still. */
static sluice_status parse_operand(struct parser *p, const char *text)
{
    const struct option *last = NULL;
    for (size_t i = 0; i < p->command->n_options; i++) {
        const struct option *o = &p->command->options[i];
        if (!o->operand) continue;
        if (!is_named(o, p->values)) return store_value(o, text, p->values, p->error);
        last = o;
    }
    char shown[128];
    quote_bytes(shown, sizeof shown, text, strlen(text));
    return set_error(p->error, SLUICE_ARGUMENT, "unexpected argument %s%s%s%s", shown, last ? " (" : "",
                     last ? last->value_name : "", last ? " is already named)" : "");
}

/* `attached` is the value in the same argument ("-n5", "--temp=0.7"), or NULL. */
static sluice_status parse_option(struct parser *p, const struct option *o, const char *attached)
{
    const char *value = attached;
    if (o->kind == OPTION_FLAG) {
        if (attached) return set_error(p->error, SLUICE_ARGUMENT, "%s: takes no value", label_of(o).text);
    } else if (!attached) {
        if (p->next == p->argc)
            return set_error(p->error, SLUICE_ARGUMENT, "%s: the value %s is missing", label_of(o).text, o->value_name);
        value = p->argv[p->next++];
    }
    if (o->operand && is_named(o, p->values))
        return set_error(p->error, SLUICE_ARGUMENT, "%s: %s is already named", label_of(o).text, o->value_name);
    return store_value(o, value, p->values, p->error);
}

static sluice_status parse_long(struct parser *p, const char *argument)
{
    const char *name = argument + 2, *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    if (length == 4 && memcmp(name, "help", 4) == 0) {
        p->help = true;
        return equals ? set_error(p->error, SLUICE_ARGUMENT, "--help: takes no value") : SLUICE_OK;
    }
    for (size_t i = 0; i < p->command->n_options; i++) {
        const struct option *o = &p->command->options[i];
        if (o->name && strlen(o->name) == length && memcmp(o->name, name, length) == 0)
            return parse_option(p, o, equals ? equals + 1 : NULL);
    }
    return unknown_option(p->command, argument, length + 2, p->error);
}

static sluice_status parse_short(struct parser *p, const char *argument)
{
    if (strcmp(argument, "-h") == 0) {
        p->help = true;
        return SLUICE_OK;
    }
    for (size_t i = 0; i < p->command->n_options; i++) {
        const struct option *o = &p->command->options[i];
        if (o->letter && o->letter == argument[1]) return parse_option(p, o, argument[2] ? argument + 2 : NULL);
    }
    return unknown_option(p->command, argument, strlen(argument), p->error);
}

static sluice_status check_required(const struct parser *p)
{
    for (size_t i = 0; i < p->command->n_options; i++) {
        const struct option *o = &p->command->options[i];
        const struct option_texts *texts = (const void *)((const char *)p->values + o->offset);
        if (o->required && (o->kind == OPTION_TEXTS ? texts->count == 0 : !is_named(o, p->values)))
            return set_error(p->error, SLUICE_ARGUMENT, "%s %s is missing: sluice %s %s", label_of(o).text,
                             o->value_name, p->command->name, p->command->usage);
    }
    return SLUICE_OK;
}

sluice_status args_parse(const struct command *command, int argc, char *const *argv, void *values, bool *help,
                         sluice_error *error)
{
    struct parser p = {.command = command, .argc = argc, .argv = argv, .values = values, .error = error};
    bool only_operands = false;
    *help = false;
    sluice_status status = store_initial_values(command, values, error);
    while (!status && !p.help && p.next < argc) {
        const char *argument = argv[p.next++];
        if (only_operands || argument[0] != '-' || !argument[1])
            status = parse_operand(&p, argument);
        else if (strcmp(argument, "--") == 0)
            only_operands = true;
        else if (argument[1] == '-')
            status = parse_long(&p, argument);
        else
            status = parse_short(&p, argument);
    }
    if (!status && !p.help) status = check_required(&p);
    *help = p.help;
    return status;
}

/* ---- help ------------------------------------------------------------------------------------------------------ */

void args_print_wrapped(FILE *to, const char *text, int column, int indent)
{
    bool first = true;
    while (*text) {
        int length = (int)strcspn(text, " ");
        if (!first && column + 1 + length > HELP_WIDTH) {
            fprintf(to, "\n%*s", indent, "");
            column = indent;
            first = true;
        }
        fprintf(to, "%s%.*s", first ? "" : " ", length, text);
        column += length + !first;
        first = false;
        text += length;
        text += strspn(text, " ");
    }
    fputc('\n', to);
}

static void print_option(FILE *to, const struct option *o)
{
    char left[64], right[512], range[96] = "";
    char letter[8] = "    ";
    if (o->letter) snprintf(letter, sizeof letter, "-%c%s", o->letter, o->name ? ", " : "");
    snprintf(left, sizeof left, "  %s%s%s%s%s", letter, o->name ? "--" : "", o->name ? o->name : "",
             o->value_name ? " " : "", o->value_name ? o->value_name : "");
    if (o->kind >= OPTION_INTEGER) describe_range(range, sizeof range, o);
    snprintf(right, sizeof right, "%s%s%s%s%s%s%s", o->help, *range || o->initial ? " (" : "", range,
             *range && o->initial ? ", " : "", o->initial ? "default " : "", o->initial ? o->initial : "",
             *range || o->initial ? ")" : "");
    int column = fprintf(to, "%s", left);
    if (column >= HELP_COLUMN - 1) {
        fputc('\n', to);
        column = 0;
    }
    fprintf(to, "%*s", HELP_COLUMN - column, "");
    args_print_wrapped(to, right, HELP_COLUMN, HELP_COLUMN);
}

void args_print_help(FILE *to, const struct command *command)
{
    int column = fprintf(to, "usage: sluice %s ", command->name);
    args_print_wrapped(to, command->usage, column, column);
    fputc('\n', to);
    args_print_wrapped(to, command->details ? command->details : command->summary, 0, 0);
    fputs("\noptions:\n", to);
    for (size_t i = 0; i < command->n_options; i++) print_option(to, &command->options[i]);
    fprintf(to, "  -h, --help%*sprint this help\n", HELP_COLUMN - 12, "");
    if (command->print_more) command->print_more(to);
}
