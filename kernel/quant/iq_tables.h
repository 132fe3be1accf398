/* The codebooks of the IQ1, IQ2 and IQ3 formats, in bits: element i of a word is a code, and the format's values are a
 * simple function of it (decode_book.h). Words of 8 have 2 bits per element, element 0 in bits 0..1; words of 4 have
 * 3 bits per element.
 *
 *     book            elements   values of codes 0, 1, ...
 *     iq1_book        8          -1 0 1                        IQ1_S, IQ1_M
 *     iq2_*_book      8          8 25 43
 *     iq3_xxs_book    4          4 12 20 28 36 44 52 62
 *     iq3_s_book      4          1 3 5 7 9 11 13 15 */
#ifndef QUANT_IQ_TABLES_H
#define QUANT_IQ_TABLES_H

#include <stdint.h>

extern const uint16_t iq1_book[2048];
extern const uint16_t iq2_xxs_book[256];
extern const uint16_t iq2_xs_book[512];
extern const uint16_t iq2_s_book[1024];
extern const uint16_t iq3_xxs_book[256];
extern const uint16_t iq3_s_book[512];

#endif
