/* Guard pages and canaries; see the header. */
#include "tests/support/guarded_buffer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CANARY = 0x5c, FRESH = 0xa5 };

static size_t page_bytes(void) { return (size_t)sysconf(_SC_PAGESIZE); }

struct guarded_buffer guarded_make(size_t bytes, size_t slack)
{
    size_t page = page_bytes(), inner = (bytes + slack + page - 1) / page * page;
    if (inner == 0) inner = page;
    struct guarded_buffer b = {.bytes = bytes, .slack = slack, .map_bytes = inner + 2 * page};
    b.map = mmap(NULL, b.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b.map == MAP_FAILED) abort();
    unsigned char *first = (unsigned char *)b.map + page;
    if (mprotect(b.map, page, PROT_NONE) || mprotect(first + inner, page, PROT_NONE)) abort();
    b.data = first + inner - slack - bytes;
    memset(first, CANARY, inner);
    memset(b.data, FRESH, bytes);
    return b;
}

static int all_canary(const unsigned char *from, const unsigned char *to)
{
    for (; from < to; from++)
        if (*from != CANARY) return 0;
    return 1;
}

const char *guarded_damage(const struct guarded_buffer *b)
{
    const unsigned char *data = b->data, *first = (unsigned char *)b->map + page_bytes();
    if (!all_canary(first, data)) return "written before the buffer";
    if (!all_canary(data + b->bytes, data + b->bytes + b->slack)) return "written behind the buffer";
    return NULL;
}

void guarded_free(struct guarded_buffer *b)
{
    munmap(b->map, b->map_bytes);
    *b = (struct guarded_buffer){0};
}
