/* Memory that notices a kernel which reads or writes beyond what it may:
 *
 *     | guard page | canaries ...... | data [bytes] | slack [slack] | guard page |
 *
 * Guard pages have no access: touching one ends the test with SIGSEGV. The canaries before the data and the slack after
 * it are filled with a pattern that guarded_damage compares. */
#ifndef TESTS_SUPPORT_GUARDED_BUFFER_H
#define TESTS_SUPPORT_GUARDED_BUFFER_H

#include <stddef.h>

struct guarded_buffer {
    void *data;          /* [bytes], filled with 0xA5 */
    size_t bytes, slack; /* the slack may be read, not written */
    void *map;
    size_t map_bytes;
};

enum { READ_SLACK = 64 }; /* what ops.h lets a kernel read past an input */

/* Aborts when the system has no memory. `bytes` may be 0. */
struct guarded_buffer guarded_make(size_t bytes, size_t slack);
/* NULL if nothing outside the data was written, else what was. */
const char *guarded_damage(const struct guarded_buffer *b);
void guarded_free(struct guarded_buffer *b);

#endif
