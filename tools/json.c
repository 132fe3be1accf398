/* Owns JSON on standard output. */
#include "json.h"

#include <stdlib.h>
#include <string.h>

#include "output.h"
#include "utf8.h"

json_t *json_string_of_bytes(const char *bytes, size_t n)
{
    static const char replacement[] = "\xef\xbf\xbd";
    if (utf8_prefix(bytes, n) == n) return json_stringn(bytes, n);
    char *text = n > SIZE_MAX / 3 ? NULL : malloc(3 * n);
    if (!text) return NULL;
    size_t o = 0, at = 0;
    while (at < n) {
        size_t length = utf8_sequence(bytes + at, n - at, NULL);
        if (length) {
            memcpy(text + o, bytes + at, length);
            o += length;
            at += length;
        } else {
            memcpy(text + o, replacement, 3);
            o += 3;
            at++;
        }
    }
    json_t *string = json_stringn(text, o);
    free(text);
    return string;
}

json_t *json_string_or_null(const char *text) { return text ? json_string_of_bytes(text, strlen(text)) : json_null(); }

sluice_status json_print_line(json_t *value, sluice_error *error)
{
    char *text = value ? json_dumps(value, JSON_REAL_PRECISION(9)) : NULL;
    json_decref(value);
    if (!text) return set_error(error, SLUICE_MEMORY, "not enough memory for the JSON output");
    sluice_status status = output_write(text, strlen(text), error);
    free(text);
    return status ? status : output_write("\n", 1, error);
}
