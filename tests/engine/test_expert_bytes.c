/* What an expert weighs: the same number that passes count when they read one expert more. */
#include <criterion/criterion.h>
#include <string.h>

#include "golden.h"

enum { N_TOKENS = 24 };

/* Bytes and experts that one pass over the tokens reads. */
static void count(const struct golden *g, const int32_t *tokens, uint64_t *bytes, uint64_t *experts)
{
    sluice_session *s = new_session(g->engine, 0, 0);
    sluice_session_stats stats;
    cr_assert_eq(sluice_session_prefill(s, tokens, N_TOKENS), SLUICE_OK);
    sluice_session_get_stats(s, &stats);
    *bytes = stats.prefill_bytes;
    *experts = stats.prefill_experts_read;
    sluice_session_free(&s);
}

Test(expert_bytes, a_pass_that_reads_more_experts_reads_so_many_bytes_more)
{
    char names[MAX_CASES][64];
    int n = golden_names(names), n_told = 0;
    for (int i = 0; i < n; i++) {
        struct golden g;
        golden_open(&g, names[i], 2, 0);
        const uint64_t all = sluice_engine_get_expert_bytes(g.engine);
        uint64_t bytes[2], experts[2];
        int32_t one[N_TOKENS];
        cr_expect_eq(all > 0, g.info.n_moe_layers > 0, "%s", names[i]);
        if (all && g.n_tokens >= N_TOKENS) {
            for (int t = 0; t < N_TOKENS; t++) one[t] = g.tokens[0];
            count(&g, g.tokens, &bytes[0], &experts[0]);
            count(&g, one, &bytes[1], &experts[1]);
            /* The tiny models have equal experts in all layers. */
            cr_expect_eq(bytes[0] - bytes[1], all / (uint64_t)g.info.n_moe_layers * (experts[0] - experts[1]), "%s",
                         names[i]);
            n_told += experts[0] != experts[1];
        }
        golden_close(&g);
    }
    cr_expect_gt(n_told, 10, "models whose two texts read different numbers of experts: %d", n_told);
}

Test(expert_bytes, there_are_none_without_a_model)
{
    struct golden g;
    golden_open(&g, "qwen3-moe-hub-bf16", 1, SLUICE_OPEN_NO_WEIGHTS);
    cr_expect_gt(sluice_engine_get_expert_bytes(g.engine), 0u);
    golden_close(&g);
}
