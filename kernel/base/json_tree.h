/* JSON text as a jansson tree, for the small documents of weights/ and for tokenizers.
 *
 * The tree is built from json_events instead of jansson's own reader, for three reasons. Real files hold integers
 * beyond 64 bits (model_max_length is often 10^30), which become reals here. Limits are checked before the tree grows.
 * And no failing request for memory passes unnoticed: jansson's reader drops the byte for which its buffer could not
 * grow, and then runs past the end of a string whose closing quote was dropped. */
#ifndef BASE_JSON_TREE_H
#define BASE_JSON_TREE_H

#include <jansson.h>

#include "base/json_events.h"

enum json_tree_problem {
    JSON_TREE_FINE,
    JSON_TREE_MEMORY,
    JSON_TREE_MALFORMED, /* reader.problem says how */
    JSON_TREE_NO_OBJECT, /* the text is something else, or nothing */
    JSON_TREE_NUL,       /* in a key, or in a value where that is not allowed */
    JSON_TREE_SURROGATE, /* half of a pair */
    JSON_TREE_NUMBER,    /* too large for a double */
    JSON_TREE_TWICE,     /* key[0..key_n) appears twice in one object */
    JSON_TREE_VALUES,    /* more than max_values, max_containers */
    JSON_TREE_CONTAINERS,
};

struct json_tree {
    /* A small hostile file must not become a large tree: an empty object takes 2 bytes of text and 200 of memory. */
    size_t max_values, max_containers;
    bool nul_in_values;

    json_t *root; /* NULL after a problem; the caller's */
    enum json_tree_problem problem;
    struct json_reader reader; /* where it stopped */
    char *key;                 /* room for the latest key and the string after it */
    size_t key_n;
    json_t *open[JSON_MAX_DEPTH]; /* [reader.depth], private */
};

/* Builds the tree of a text that is an object, with the first three fields set and all others zero. json_tree_end frees
 * everything but the root, and belongs to every call. */
enum json_tree_problem json_tree_build(struct json_tree *t, const char *text, size_t n);
void json_tree_end(struct json_tree *t);

/* Records the problem of a call as a sentence without the document's name, "JSON error at byte 52: REASON"; SLUICE_OK
 * if there was none. */
sluice_status json_tree_fail(const struct json_tree *t, struct failure *f);

#endif
