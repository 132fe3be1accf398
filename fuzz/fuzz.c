/* What the targets share (see fuzz.h). */
#include "fuzz.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_broken(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("broken promise: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}

void *fuzz_need(void *p)
{
    if (!p) fuzz_broken("no memory for the target itself");
    return p;
}

void fuzz_check_failure(sluice_status status, const struct failure *f)
{
    if (!status) return;
    if (f->status != status) fuzz_broken("status %d, but the sentence is of %d", (int)status, (int)f->status);
    if (!f->text[0]) fuzz_broken("status %d without a sentence", (int)status);
    for (const char *c = f->text; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
            fuzz_broken("byte %02x in the sentence: %s", (unsigned char)*c, f->text);
}

uint64_t fuzz_next(struct fuzz_random *r)
{
    r->state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t z = r->state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

size_t fuzz_below(struct fuzz_random *r, size_t n) { return n ? (size_t)(fuzz_next(r) % n) : 0; }

uint64_t fuzz_awkward(struct fuzz_random *r)
{
    uint64_t power = (uint64_t)1 << fuzz_below(r, 64);
    switch (fuzz_below(r, 8)) {
    case 0: return fuzz_below(r, 4);
    case 1: return UINT64_MAX - fuzz_below(r, 4);
    case 2: return power - 1;
    case 3: return power;
    case 4: return power + 1;
    case 5: return (uint64_t)INT64_MAX - fuzz_below(r, 3) + 1;
    case 6: return (uint64_t)1 << 32 | fuzz_below(r, 16);
    default: return fuzz_below(r, 512);
    }
}
