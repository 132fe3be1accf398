/* A helper of test_cli.sh: every line of standard input must be one JSON object. Prints, in order, the values of the
 * key that is named as the argument: strings as they are, other values as JSON with a newline. A dotted key goes into
 * objects: summary.seed. Exit code 1: a line is not a JSON object. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const json_t *find(const json_t *object, const char *key)
{
    char part[64];
    for (;;) {
        size_t n = strcspn(key, ".");
        snprintf(part, sizeof part, "%.*s", (int)n, key);
        object = json_object_get(object, part);
        if (!object || !key[n]) return object;
        key += n + 1;
    }
}

int main(int argc, char **argv)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    int status = 0;
    while (status == 0 && (n = getline(&line, &cap, stdin)) > 0) {
        json_t *object = json_loadb(line, (size_t)n, JSON_REJECT_DUPLICATES, NULL);
        const json_t *value = argc > 1 && json_is_object(object) ? find(object, argv[1]) : NULL;
        if (!json_is_object(object)) status = 1;
        if (json_is_string(value)) {
            fwrite(json_string_value(value), 1, json_string_length(value), stdout);
        } else if (value) {
            json_dumpf(value, stdout, JSON_ENCODE_ANY);
            putchar('\n');
        }
        json_decref(object);
    }
    free(line);
    return status;
}
