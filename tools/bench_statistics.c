#include "bench_statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* `sorted` has n >= 1 values; share 0..1. */
static double quantile(const double *sorted, size_t n, double share)
{
    double at = share * (double)(n - 1);
    size_t below = (size_t)at;
    if (below + 1 >= n) return sorted[n - 1];
    return sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]);
}

struct quartiles quartiles_of(const struct bench_samples *samples)
{
    double sorted[BENCH_MAX_SAMPLES];
    size_t n = samples->count;
    if (n == 0) return (struct quartiles){0};
    memcpy(sorted, samples->values, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, ascending);
    return (struct quartiles){quantile(sorted, n, 0.5), quantile(sorted, n, 0.25), quantile(sorted, n, 0.75)};
}

void bench_work_add(struct bench_work *w, const sluice_session_stats *s, bool prefill)
{
    w->seconds += s->decode_seconds;
    w->bytes += (double)s->decode_bytes;
    w->tokens += (double)s->decode_tokens;
    w->passes += (double)s->decode_passes;
    w->experts_read += (double)s->experts_read;
    w->expert_rows += (double)s->experts_read; /* one row each */
    w->wait_seconds += s->decode_wait_seconds;
    for (int i = 0; i < SLUICE_N_PEAKS; i++) w->operations[i] += (double)s->decode_operations[i];
    if (!prefill) return;
    w->seconds += s->prefill_seconds;
    w->bytes += (double)s->prefill_bytes;
    w->tokens += (double)s->prefill_tokens;
    w->passes += (double)s->prefill_passes;
    w->experts_read += (double)s->prefill_experts_read;
    w->expert_rows += (double)s->prefill_expert_rows;
    w->wait_seconds += s->prefill_wait_seconds;
    for (int i = 0; i < SLUICE_N_PEAKS; i++) w->operations[i] += (double)s->prefill_operations[i];
}

double bench_roof_seconds(const struct bench_work *w, const sluice_roof *roof)
{
    const double peaks[SLUICE_N_PEAKS] = {
        [SLUICE_PEAK_F32] = roof->f32_tflops * 1e12,
        [SLUICE_PEAK_BF16] = roof->bf16_tflops * 1e12,
        [SLUICE_PEAK_INT8] = roof->int8_tops * 1e12,
    };
    double reading = roof->read_gb_per_s > 0 ? w->bytes / (roof->read_gb_per_s * 1e9) : 0, multiplying = 0;
    for (int i = 0; i < SLUICE_N_PEAKS; i++)
        if (peaks[i] > 0) multiplying += w->operations[i] / peaks[i];
    return reading > multiplying ? reading : multiplying;
}

bool bench_cut_list(int64_t *items, size_t *count, int64_t limit)
{
    size_t kept = 0;
    bool cut = false;
    for (size_t i = 0; i < *count; i++) {
        if (items[i] <= limit) {
            items[kept++] = items[i];
        } else if (!cut) {
            cut = true;
            if (limit >= 0 && (kept == 0 || items[kept - 1] < limit)) items[kept++] = limit;
        }
    }
    *count = kept;
    return cut;
}

double geometric_mean(const double *values, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += log(values[i]);
    return n ? exp(sum / (double)n) : 1;
}
