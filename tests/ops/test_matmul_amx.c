/* The products on tile registers, with the processor's tiles where it has them and with emulated ones, one test per
 * kernel: bit for bit a plain model of their arithmetic. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/float16.h"
#include "ops/scalar/flush.h"
#include "ops/variants.h"
#include "tests/ops/matmul_problem.h"
#include "tests/ops/ops_cases.h"
#include "tests/support/compare.h"

#ifdef __x86_64__

static const struct panel_kernel *const kernels[] = {
#define KERNEL(name)      &kernel_##name,
#define TEST_KERNEL(name) &kernel_##name,
#include "ops/variants.inc"
};
enum { MAX_KERNELS = sizeof kernels / sizeof kernels[0] };

ParameterizedTestParameters(matmul_amx, kernel)
{
    static int index[MAX_KERNELS];
    size_t n = 0;
    for (int i = 0; i < MAX_KERNELS; i++)
        if (strstr(kernels[i]->name, "_amx")) index[n++] = i;
    return cr_make_param_array(int, index, n);
}

/* w [k] . x [k]: per step of 32 columns a chain of the even and one of the odd ones, added, then added to the sum. */
static float model_dot(const float *w, const float *x, int k)
{
    float total = 0.0f;
    for (int step = 0; step < k; step += 32) {
        float chain[2] = {0.0f, 0.0f};
        for (int i = step; i < k && i < step + 32; i++)
            chain[i % 2] =
                flushed_fma(bf16_to_float(float_to_bf16(x[i])), bf16_to_float(float_to_bf16(w[i])), chain[i % 2]);
        total = flushed(total + flushed(chain[0] + chain[1]));
    }
    return total;
}

static struct problem random_problem(const struct panel_layout *layout, int n, int k, int m, bool awkward)
{
    struct rng rng = rng_seed((uint64_t)(n * 1000003 + k * 1009 + m));
    const struct dtype_info *type = dtype_info(layout->weight);
    struct problem p = problem_alloc(layout, n, k, m);
    unsigned char *file = p.file.data;
    for (size_t at = 0; at < p.row_bytes * (size_t)n; at += type->bytes_per_block) {
        float number;
        rng_fill(&rng, &number, 1, -1.0f, 1.0f);
        if (awkward) rng_fill_awkward(&rng, &number, 1);
        const uint16_t half = float_to_bf16(number);
        if (type->is_float) {
            memcpy(file + at, &half, sizeof half);
        } else {
            fill_block(&rng, layout->weight, file + at, false);
        }
    }
    problem_pack(layout, &p);
    rng_fill(&rng, p.x.data, (size_t)m * (size_t)k, -1.0f, 1.0f);
    if (awkward) rng_fill_awkward(&rng, p.x.data, (size_t)m * (size_t)k);
    return p;
}

static const char *check_model(const struct panel_kernel *kernel, int n, int k, int m, bool awkward)
{
    struct problem p = random_problem(kernel->layout, n, k, m, awkward);
    struct guarded_buffer y;
    const char *wrong = multiply(&y, kernel, &p, NULL, m, m % 2 ? 1 << 20 : 48);
    for (int t = 0; t < m && !wrong; t++)
        for (int r = 0; r < n && !wrong; r++) {
            const float want =
                model_dot(p.weight + (size_t)r * (size_t)k, (float *)p.x.data + (size_t)t * (size_t)k, k);
            if (first_difference((float *)y.data + t * p.n_padded + r, &want, 1) >= 0)
                wrong = "bits differ from the model";
        }
    if (wrong) wrong = report(kernel, &p, wrong, 0.0, 0.0);
    guarded_free(&y);
    problem_free(&p);
    return wrong;
}

/* Numbers of panels around two and four, slices around their ends, token tiles of one and of different heights. */
static const char *check_parity(const struct panel_kernel *kernel)
{
    static const int ns[] = {1, 33, 64, 100}, ks[] = {1, 31, 64, 255, 513, 800};
    static const int ms[] = {1, 2, 7, 8, 15, 16, 17, 31, 33, 50};
    enum { N = sizeof ns / sizeof ns[0], K = sizeof ks / sizeof ks[0], M = sizeof ms / sizeof ms[0] };
    const char *wrong = NULL;
    for (int i = 0; i < K * M && !wrong; i++) {
        const int n = ns[(i + i / M) % N], k = fitting_k(kernel->layout, ks[i / M]);
        wrong = check_model(kernel, n, k, ms[i % M], i % 3 == 1);
    }
    return wrong;
}

ParameterizedTest(int *index, matmul_amx, kernel)
{
    const struct panel_kernel *kernel = kernels[*index];
    const char *missing = missing_feature(kernel->needs);
    if (missing) cr_skip_test("%s skipped: needs %s", kernel->name, missing);
    if (!__builtin_cpu_supports("avx512vbmi")) cr_skip_test("%s skipped: needs avx512vbmi", kernel->name);
    const char *wrong = check_parity(kernel);
    if (!wrong) wrong = check_kernel_bound(kernel);
    if (!wrong) wrong = check_kernel_independence(kernel);
    if (!wrong) wrong = check_pack_x_pieces(kernel);
    cr_assert(!wrong, "%s", wrong);
}

#endif
