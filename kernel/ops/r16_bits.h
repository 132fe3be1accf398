/* Levels of 2, 3, 5 or 6 bits in layouts <format>_r16: the bits of 32 columns brought together, where the file has the
 * low bits of 256 columns in one place and the high ones in another.
 *
 * A word is four columns of one row, a byte each; 8 words are 32 columns. They are packed into as many words v[] as a
 * level has bits. Most levels lie whole in the low bits of a byte; those that are left over are spread over the bits
 * above them. From bit 0 on:
 *
 *     2 bits   v0: L0 L1 L2 L3                                  v1: L4 L5 L6 L7
 *     3 bits   v0: L0 L1 L6(0..1)     v1: L2 L3 L7(0..1)        v2: L4 L5 L6(2) L7(2)
 *     5 bits   v0: L0 L5(0..2)        v1: L1 L6(0..2)           v2: L2 L7(0..2)
 *              v3: L3 L5(3..4) L7(3)  v4: L4 L6(3..4) L7(4)
 *     6 bits   v0: L0 L3(0..1)        v1: L1 L3(2..3)           v2: L2 L3(4..5)     v3 .. v5: L4 .. L7 likewise
 *
 * Of 16 rows' words, v[i] of 32 columns number b lie at byte (b * bits + i) * 64: read from front to back, and about
 * two instructions per level (tmpl/q8_formats.h) where fields apart take five. */
#ifndef OPS_R16_BITS_H
#define OPS_R16_BITS_H

#include <stdint.h>
#include <string.h>

#include "ops/r16.h"
#include "ops/tmpl/unroll.h"

enum {
    R16_WORDS = 64,     /* of four columns in a row of 256 */
    R16_BLOCK_WORDS = 8 /* of those 32 columns that are packed together */
};

/* `n` bits of each byte of a word, from bit `from` on, moved to bit `to`. */
ALWAYS_INLINE uint32_t move_bits(uint32_t word, int from, int n, int to)
{
    return (word >> from & ((1u << n) - 1) * 0x01010101u) << to;
}

/* Bits of levels that a field of the file has: of `period` words the lowest bits, then of the next `period` words the
 * bits above, until bytes are full; then the next words of the field. */
ALWAYS_INLINE void take_bits(uint32_t *levels, const unsigned char *field, int bits, int period, int to)
{
    for (int i = 0; i < R16_WORDS * bits / 8; i += period)
        for (int part = 0; part < 8 / bits; part++)
            for (int j = 0; j < period; j++) {
                uint32_t word;
                memcpy(&word, field + 4 * (i + j), sizeof word);
                levels[i * 8 / bits + part * period + j] |= move_bits(word, part * bits, bits, to);
            }
}

ALWAYS_INLINE void give_bits(unsigned char *field, const uint32_t *levels, int bits, int period, int to)
{
    for (int i = 0; i < R16_WORDS * bits / 8; i += period)
        for (int j = 0; j < period; j++) {
            uint32_t word = 0;
            for (int part = 0; part < 8 / bits; part++)
                word |= move_bits(levels[i * 8 / bits + part * period + j], to, bits, part * bits);
            memcpy(field + 4 * (i + j), &word, sizeof word);
        }
}

/* 8 words of levels to `bits` words, and back. */
ALWAYS_INLINE void join_levels(uint32_t *v, const uint32_t *l, int bits)
{
    if (bits == 2) {
        for (int i = 0; i < 2; i++) v[i] = l[4 * i] | l[4 * i + 1] << 2 | l[4 * i + 2] << 4 | l[4 * i + 3] << 6;
    } else if (bits == 3) {
        v[0] = l[0] | l[1] << 3 | move_bits(l[6], 0, 2, 6);
        v[1] = l[2] | l[3] << 3 | move_bits(l[7], 0, 2, 6);
        v[2] = l[4] | l[5] << 3 | move_bits(l[6], 2, 1, 6) | move_bits(l[7], 2, 1, 7);
    } else if (bits == 5) {
        for (int i = 0; i < 3; i++) v[i] = l[i] | move_bits(l[5 + i], 0, 3, 5);
        v[3] = l[3] | move_bits(l[5], 3, 2, 5) | move_bits(l[7], 3, 1, 7);
        v[4] = l[4] | move_bits(l[6], 3, 2, 5) | move_bits(l[7], 4, 1, 7);
    } else {
        for (int i = 0; i < 6; i++) v[i] = l[i / 3 * 4 + i % 3] | move_bits(l[i / 3 * 4 + 3], i % 3 * 2, 2, 6);
    }
}

ALWAYS_INLINE void part_levels(uint32_t *l, const uint32_t *v, int bits)
{
    if (bits == 2) {
        for (int i = 0; i < 8; i++) l[i] = move_bits(v[i / 4], i % 4 * 2, 2, 0);
    } else if (bits == 3) {
        for (int i = 0; i < 6; i++) l[i] = move_bits(v[i / 2], i % 2 * 3, 3, 0);
        l[6] = move_bits(v[0], 6, 2, 0) | move_bits(v[2], 6, 1, 2);
        l[7] = move_bits(v[1], 6, 2, 0) | move_bits(v[2], 7, 1, 2);
    } else if (bits == 5) {
        for (int i = 0; i < 5; i++) l[i] = move_bits(v[i], 0, 5, 0);
        l[5] = move_bits(v[0], 5, 3, 0) | move_bits(v[3], 5, 2, 3);
        l[6] = move_bits(v[1], 5, 3, 0) | move_bits(v[4], 5, 2, 3);
        l[7] = move_bits(v[2], 5, 3, 0) | move_bits(v[3], 7, 1, 3) | move_bits(v[4], 7, 1, 4);
    } else {
        for (int i = 0; i < 6; i++) l[i / 3 * 4 + i % 3] = move_bits(v[i], 0, 6, 0);
        for (int h = 0; h < 2; h++)
            l[4 * h + 3] =
                move_bits(v[3 * h], 6, 2, 0) | move_bits(v[3 * h + 1], 6, 2, 2) | move_bits(v[3 * h + 2], 6, 2, 4);
    }
}

/* One row's levels of 256 columns to every 16th word of a unit, and back. */
ALWAYS_INLINE void put_levels(unsigned char *unit, const uint32_t *levels, int bits)
{
    for (int b = 0; b < R16_WORDS / R16_BLOCK_WORDS; b++) {
        uint32_t v[R16_BLOCK_WORDS];
        join_levels(v, levels + b * R16_BLOCK_WORDS, bits);
        for (int i = 0; i < bits; i++) memcpy(unit + (b * bits + i) * R16_ROWS * 4, &v[i], 4);
    }
}

ALWAYS_INLINE void get_levels(uint32_t *levels, const unsigned char *unit, int bits)
{
    for (int b = 0; b < R16_WORDS / R16_BLOCK_WORDS; b++) {
        uint32_t v[R16_BLOCK_WORDS];
        for (int i = 0; i < bits; i++) memcpy(&v[i], unit + (b * bits + i) * R16_ROWS * 4, 4);
        part_levels(levels + b * R16_BLOCK_WORDS, v, bits);
    }
}

#endif
