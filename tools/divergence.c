#include "divergence.h"

#include <math.h>

size_t argmax(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

double log_sum_exp(const float *x, size_t n)
{
    double top = x[argmax(x, n)], sum = 0;
    for (size_t i = 0; i < n; i++) sum += exp(x[i] - top);
    return top + log(sum);
}

double divergence(const float *truth, const float *model, size_t n)
{
    double log_truth = log_sum_exp(truth, n), log_model = log_sum_exp(model, n), sum = 0;
    for (size_t i = 0; i < n; i++) {
        double log_p = truth[i] - log_truth, log_q = model[i] - log_model;
        sum += exp(log_p) * (log_p - log_q);
    }
    return sum;
}
