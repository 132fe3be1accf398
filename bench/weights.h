/* Packed matrices of random weights. */
#ifndef BENCH_WEIGHTS_H
#define BENCH_WEIGHTS_H

#include "ops/panel.h"

/* A packed [n, k] of small random weights in pages of its own, `bytes` of them: its first panel over and over. */
void *bench_matrix(const struct panel_layout *layout, int n, int k, size_t *bytes);

#endif
