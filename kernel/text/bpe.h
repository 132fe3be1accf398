/* The table of merges: (left id, right id) -> slot. Shared by model.c, which fills it, and bpe.c. */
#ifndef TEXT_BPE_H
#define TEXT_BPE_H

#include "text/vocab_internal.h"

/* The slot of the pair: its merge, or (left == -1) the free slot where it belongs. The table is never full. */
static inline struct merge *merge_slot(const struct vocab *v, int32_t left, int32_t right)
{
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) ^ v->seed;
    h *= 0x9e3779b97f4a7c15u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    size_t mask = v->n_merge_slots - 1, slot = (h >> 32) & mask;
    while (v->merges[slot].left >= 0 && (v->merges[slot].left != left || v->merges[slot].right != right))
        slot = (slot + 1) & mask;
    return &v->merges[slot];
}

#endif
