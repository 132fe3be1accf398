/* Owns the few things that jansson does not do by itself: strings from any bytes, and one checked line of output. */
#ifndef TOOLS_JSON_H
#define TOOLS_JSON_H

#include <jansson.h>

#include "sluice/sluice.h"

/* A JSON string; bytes that are not UTF-8 become U+FFFD. NULL: no memory. */
json_t *json_string_of_bytes(const char *bytes, size_t n);
/* A JSON string, or null for NULL. */
json_t *json_string_or_null(const char *text);
/* Prints the value on one line of standard output and releases it. NULL, from a constructor without memory, is
 * SLUICE_MEMORY. */
sluice_status json_print_line(json_t *value, sluice_error *error);

#endif
