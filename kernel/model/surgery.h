/* What a session changes about the choice of experts, as the router reads it: for questions like "what does this
 * expert do", "what do fewer experts cost", "what if the route were another". How many experts a row uses, and whether
 * all of them work, decides the size of buffers and stands in struct workspace. The engine checks everything
 * (engine/surgery.c); router.c obeys. */
#ifndef MODEL_SURGERY_H
#define MODEL_SURGERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum surgery_mark {
    MARK_ABLATED = 1, /* as if the router had no row for it: its score is 0, and it is never chosen */
    MARK_ZEROED = 2,  /* chosen as ever, but weighs 0 */
    MARK_FORCED = 4,  /* always chosen, in the place of the worst */
};

struct surgery {
    unsigned char *marks; /* [n_layers, workspace.n_experts] bits of enum surgery_mark; NULL: none */
    /* Fills n experts and their weights, and is true; or false: the router chooses. NULL: the router chooses always. */
    bool (*route)(void *context, int layer, size_t position, int n, int32_t *experts, float *weights);
    void *context;
};

#endif
