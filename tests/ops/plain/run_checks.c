/* The checks of ops_cases.h without a test framework, for machines that have none, such as an emulated AArch64. Prints
 * one line per variant; exit status 1 if any is wrong. */
#include <stdio.h>

#include "tests/ops/ops_cases.h"

static int n_wrong;

static const char *missing_for(const struct panel_kernel *k)
{
    const char *missing = missing_feature(k->needs);
    return !missing && k->usable && !k->usable() ? "its library" : missing;
}

static void say(const char *name, const char *what, const char *missing, const char *wrong)
{
    if (missing) {
        printf("%s %s skipped: needs %s\n", name, what, missing);
    } else {
        printf("%s %s: %s\n", name, what, wrong ? wrong : "ok");
        n_wrong += wrong != NULL;
    }
    fflush(stdout);
}

int main(void)
{
    for (int i = 0; i < n_op_variants; i++) {
        const struct op_variant *v = &op_variants[i];
        const char *missing = missing_feature(v->needs);
        say(v->name, "parity", missing, missing ? NULL : v->check(v));
    }
    for (const struct panel_kernel *const *list = tested_kernels(); *list; list++) {
        const struct panel_kernel *k = *list;
        const char *missing = missing_for(k);
        say(k->name, "pieces", missing, missing ? NULL : check_pack_x_pieces(k));
        if (kernel_kind(k) == KERNEL_Q8) {
            say(k->name, "q8", missing, missing ? NULL : check_q8(k));
            continue;
        }
        say(k->name, "parity", missing, missing ? NULL : check_kernel_parity(k));
        say(k->name, "bound", missing, missing ? NULL : check_kernel_bound(k));
        if (k->exact) say(k->name, "independence", missing, missing ? NULL : check_kernel_independence(k));
    }
    return n_wrong != 0;
}
