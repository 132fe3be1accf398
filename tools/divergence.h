/* Owns the numbers by which two sets of logits over one vocabulary are compared. */
#ifndef TOOLS_DIVERGENCE_H
#define TOOLS_DIVERGENCE_H

#include <stddef.h>

/* Index of the largest of n >= 1 numbers; the lowest of equal ones. */
size_t argmax(const float *x, size_t n);
/* log(sum(exp(x))) without overflow. */
double log_sum_exp(const float *x, size_t n);
/* Kullback-Leibler divergence KL(softmax(truth) || softmax(model)) in nats, >= 0 up to rounding. */
double divergence(const float *truth, const float *model, size_t n);

#endif
