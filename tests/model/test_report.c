/* Lines about a model for people: what they say, and that they never leave their room. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/checkpoint.h"
#include "tests/support/guarded_buffer.h"

static struct bound bound;
static void destroy(void) { model_free(&bound.model); }
TestSuite(report, .fini = destroy);

static void expect_layer(const char *golden, int layer, const char *expected)
{
    char line[256];
    bind_golden(&bound, golden);
    model_describe_layer(&bound.model, layer, line, sizeof line);
    cr_expect_str_eq(line, expected, "\n     got: %s\nexpected: %s", line, expected);
    model_free(&bound.model);
}

Test(report, layers_are_described)
{
    expect_layer("qwen3-moe-hub-bf16", 0,
                 "attention 4 heads / 2 kv x 24, qk-norm per head, rope 1e+07 | 2 of 6 experts x 16 silu, softmax, "
                 "renormalised");
    expect_layer("qwen2-moe-window-hub", 0,
                 "attention 2 heads / 1 kv x 16, qkv bias, window 9, rope 10000 | 2 of 5 experts x 16 silu, softmax + "
                 "gated shared expert x 16");
}

/* The smallest room: whatever fits, always ended. Behind the block lies a page without access. */
Test(report, lines_are_cut_to_their_room)
{
    bind_golden(&bound, "olmoe-clip-f32");
    char whole_layer[512], whole_group[512];
    model_describe_layer(&bound.model, 0, whole_layer, sizeof whole_layer);
    cr_assert(model_describe_group(&bound.model, 3, whole_group, sizeof whole_group));
    for (size_t cap = 1; cap < 300; cap++) {
        struct guarded_buffer room = guarded_make(cap, 0);
        char *line = room.data;
        model_describe_layer(&bound.model, 0, line, cap);
        cr_assert_not_null(memchr(line, 0, cap));
        cr_assert_eq(strncmp(line, whole_layer, cap - 1), 0, "%zu bytes: %s", cap, line);
        memset(line, '#', cap);
        cr_assert(model_describe_group(&bound.model, 3, line, cap));
        cr_assert_not_null(memchr(line, 0, cap));
        cr_assert_eq(strncmp(line, whole_group, cap - 1), 0, "%zu bytes: %s", cap, line);
        guarded_free(&room);
    }
}

/* The counts of all groups add up to the matrices of the model. */
Test(report, every_matrix_belongs_to_one_group)
{
    char line[512];
    int n_matrices = 0, n_groups = 0;
    bind_golden(&bound, "qwen2-moe-step2-f32");
    const struct model_config *c = &bound.model.config;
    while (model_describe_group(&bound.model, n_groups, line, sizeof line)) {
        const char *count = strstr(line, "] x ");
        cr_assert_not_null(count, "%s", line);
        n_matrices += atoi(count + 4);
        n_groups++;
        cr_assert_lt(n_groups, 100);
    }
    int n_moe = config_n_moe_layers(c), n_dense = c->n_layers - n_moe;
    int n_experts = c->layers[1].router.n_experts;
    cr_expect_eq(n_matrices, 2 + 4 * c->n_layers + 3 * n_dense + n_moe * (1 + 3 * n_experts + 3 + 1));
    cr_expect(!model_describe_group(&bound.model, n_groups + 1, line, sizeof line));
    cr_expect_str_eq(line, "");
}
