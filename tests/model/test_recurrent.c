/* What mixers with a state share: the convolution by hand, with every way of cutting its rows, and who does what. */
#include "model/recurrent.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/cpu.h"

/* ---- the convolution --------------------------------------------------------------------------------------------- */

enum { CHANNELS = 5, AT = 1, WIDTH = 3, ROWS = 6 }; /* channels 1..3 of 5; the others may not change */

/* Runs the rows in passes of `step` and compares with y. Inputs of the channels: x, 10 x, -x. */
static void expect_conv(int n_taps, const float *taps_of_one, const float *x, const float *y, int step)
{
    struct ops ops;
    float taps[4 * CHANNELS], tail[3 * CHANNELS], rows[ROWS][CHANNELS + 16], scratch[3 * WIDTH + 16];
    static const float factors[WIDTH] = {1, 10, -1};
    ops_init(&ops, cpu_features(NULL));
    for (int j = 0; j < n_taps; j++)
        for (int c = 0; c < CHANNELS; c++) taps[j * CHANNELS + c] = taps_of_one[j];
    memset(tail, 0, sizeof tail);
    for (int i = 0; i < n_taps - 1; i++) tail[i * CHANNELS] = tail[i * CHANNELS + 4] = 77;
    for (int i = 0; i < ROWS; i++)
        for (int c = 0; c < CHANNELS; c++) rows[i][c] = c >= AT && c < AT + WIDTH ? factors[c - AT] * x[i] : 99;
    for (int first = 0; first < ROWS; first += step) {
        struct conv conv = {
            .x = &rows[first][AT],
            .ldx = CHANNELS + 16,
            .n_rows = first + step < ROWS ? step : ROWS - first,
            .width = WIDTH,
            .n_taps = n_taps,
            .taps = taps + AT,
            .tail = tail + AT,
            .channels = CHANNELS,
        };
        causal_conv(&ops, &conv, scratch);
    }
    for (int i = 0; i < ROWS; i++) {
        cr_expect(rows[i][0] == 99 && rows[i][4] == 99, "a neighbour of row %d", i);
        for (int c = 0; c < WIDTH; c++)
            cr_expect_eq(rows[i][AT + c], factors[c] * y[i], "%d taps, %d rows at a time: row %d, channel %d", n_taps,
                         step, i, c);
    }
    for (int i = 0; i < n_taps - 1; i++) { /* the last inputs, oldest first */
        cr_expect(tail[i * CHANNELS] == 77 && tail[i * CHANNELS + 4] == 77);
        for (int c = 0; c < WIDTH; c++)
            cr_expect_eq(tail[i * CHANNELS + AT + c], factors[c] * x[ROWS - n_taps + 1 + i], "tail %d", i);
    }
}

Test(recurrent, by_hand_with_any_number_of_rows_at_a_time)
{
    static const float x[ROWS] = {1, 2, -1, 0, 3, 4};
    static const float taps[3][4] = {{2}, {1, 10, 100}, {1, 10, 100, 1000}};
    static const float y[3][ROWS] = {
        {2, 4, -2, 0, 6, 8},
        {100, 210, -79, -8, 299, 430},
        {1000, 2100, -790, -79, 2992, 4299},
    };
    static const int n_taps[3] = {1, 3, 4};
    for (int i = 0; i < 3; i++)
        for (int step = 1; step <= ROWS; step++) expect_conv(n_taps[i], taps[i], x, y[i], step);
}

/* ---- pieces of work ---------------------------------------------------------------------------------------------- */

Test(recurrent, every_part_of_every_session_is_somebodys_once)
{
    static struct cache caches[4];
    static const int of_row[9] = {0, 0, 0, 1, 2, 2, 3, 3, 3}, first_row[5] = {0, 3, 4, 6, 9};
    struct row rows[9];
    for (int i = 0; i < 9; i++) rows[i] = (struct row){.cache = &caches[of_row[i]]};
    const struct chunk c = {.rows = rows, .n_rows = 9};
    for (int n_parts = 1; n_parts <= 7; n_parts++)
        for (int n_threads = 1; n_threads <= 40; n_threads += n_threads < 6 ? 1 : 17) {
            int seen[4][7] = {{0}}, most = 0, least = 99;
            for (int id = 0; id < n_threads; id++) {
                const struct thread t = {.id = id, .n = n_threads};
                int n = 0;
                for (struct piece p = piece_first(&c, n_parts, &t); p.left > 0; piece_next(&p), n++) {
                    cr_assert(p.first >= 0 && p.first < 9 && p.part >= 0 && p.part < n_parts);
                    int session = of_row[p.first];
                    cr_assert(p.first == first_row[session] && p.end == first_row[session + 1]);
                    seen[session][p.part]++;
                }
                most = n > most ? n : most;
                least = n < least ? n : least;
            }
            for (int i = 0; i < 4 * n_parts; i++) cr_assert_eq(seen[i / n_parts][i % n_parts], 1);
            cr_expect_leq(most - least, 1);
        }
}
