/* Owns the command line: one table of options per command is the whole truth for parsing, bounds and help text.
 * Knows no command. Read sluice.c next for the table of commands, cmd_run.c for a table of options in use. */
#ifndef TOOLS_ARGS_H
#define TOOLS_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "sluice/sluice.h"

/* The kind of an option says which type its field has in the command's struct of values. */
enum option_kind {
    OPTION_FLAG,     /* bool */
    OPTION_TEXT,     /* const char *: NULL when absent, otherwise one of argv */
    OPTION_TEXTS,    /* struct option_texts: may be given several times */
    OPTION_INTEGER,  /* struct option_integer */
    OPTION_REAL,     /* struct option_real */
    OPTION_INTEGERS, /* struct option_integers: whole numbers, separated by commas */
};

enum { OPTION_MAX_TEXTS = 16, OPTION_MAX_INTEGERS = 32 };

struct option_texts {
    size_t count;
    const char *items[OPTION_MAX_TEXTS];
};

struct option_integer {
    bool given; /* false: value is the initial one of the table, or 0 */
    int64_t value;
};

struct option_integers {
    bool given; /* false: the initial ones */
    size_t count;
    int64_t items[OPTION_MAX_INTEGERS];
};

struct option_real {
    bool given;
    double value;
};

struct option {
    const char *name; /* after "--"; NULL: only the letter */
    char letter;      /* after "-"; 0: only the name */
    enum option_kind kind;
    bool operand; /* may also be given as a bare argument, in the order of the table; OPTION_TEXTS takes all others */
    bool required;
    size_t offset;            /* of the field in the struct of values */
    const char *value_name;   /* for help and messages, "N"; NULL for flags */
    double low, high;         /* bounds of numbers; integers up to 2^53 are exact */
    bool low_open, high_open; /* the bound itself is not allowed */
    const char *initial;      /* value when the option is absent, as one would type it; NULL: none */
    const char *help;
};

struct command {
    const char *name;
    const char *summary; /* for the list of commands */
    const char *usage;   /* what follows "sluice NAME " */
    const char *details; /* a paragraph for its own help, or NULL */
    const struct option *options;
    size_t n_options;
    void (*print_more)(FILE *to); /* what its help says after the options, or NULL */
    size_t values_bytes;          /* of the struct that the offsets refer to */
    /* On failure *error holds the sentence; an empty one means that everything has been said. */
    sluice_status (*run)(const void *values, sluice_error *error);
};

/* Fills the command's `values` (all bytes are set) from the arguments after the command's name. The texts in it point
 * into argv. *help: --help or -h was seen, and the values are incomplete. */
sluice_status args_parse(const struct command *command, int argc, char *const *argv, void *values, bool *help,
                         sluice_error *error);
void args_print_help(FILE *to, const struct command *command);
/* A paragraph broken into lines of 100 columns; `column` says where the cursor is, further lines begin at `indent`. */
void args_print_wrapped(FILE *to, const char *text, int column, int indent);

/* The one of n names that is nearest to what somebody typed; NULL when none is near. */
const char *args_nearest(const char *typed, const char *const *names, size_t n);

#endif
