/* Dispatch: turns the lines of variants.inc into the operation table and into the choice of layout and kernel. Owns no
 * arithmetic; read ops.h and panel.h for the contracts, scalar/ for the meaning of each operation. */
#include "ops/ops.h"

#include "ops/variants.h"

static bool has_all(uint64_t features, uint64_t needs) { return (features & needs) == needs; }

void ops_init(struct ops *ops, uint64_t features)
{
    *ops = (struct ops){.features = features};
    /* Weakest first, so that the strongest usable one stays. Scalar needs nothing: no member remains NULL. */
#define OP(operation, isa, needs)                \
    if (has_all(features, needs)) {              \
        ops->operation = ops_##operation##_##isa; \
        ops->name = #isa;                        \
    }
#include "ops/variants.inc"
}

static const struct panel_layout *const layouts[] = {
#define LAYOUT(name, flags) &layout_##name,
#include "ops/variants.inc"
    NULL,
};

static const unsigned layout_flags[] = {
#define LAYOUT(name, flags) flags,
#include "ops/variants.inc"
};

static const struct panel_kernel *const kernels[] = {
#define KERNEL(name) &kernel_##name,
#include "ops/variants.inc"
    NULL,
};

const struct panel_layout *const *panel_layouts(void) { return layouts; }
const struct panel_kernel *const *panel_kernels(void) { return kernels; }

bool panel_blas_usable(void)
{
    for (int i = 0; kernels[i]; i++)
        if (kernels[i]->usable) return kernels[i]->usable();
    return false;
}

const struct panel_kernel *panel_kernel_choose(const struct panel_layout *layout, int m, uint64_t features)
{
    for (int i = 0; kernels[i]; i++)
        if (kernels[i]->layout == layout && kernels[i]->m_min <= m && has_all(features, kernels[i]->needs) &&
            (!kernels[i]->usable || kernels[i]->usable()))
            return kernels[i];
    return NULL;
}

/* Wider panels take only matrices that fill them: callers leave room for this much padding behind their rows. */
enum { MAX_PADDING_ROWS = 16 };

const struct panel_layout *panel_layout_choose(enum dtype weight, int n, int k, uint64_t features, unsigned flags)
{
    if (n < 1 || k < 1) return NULL;
    for (int i = 0; layouts[i]; i++)
        if (layouts[i]->weight == weight && k % layouts[i]->kr == 0 && (layout_flags[i] & ~flags) == 0 &&
            !(layouts[i]->rounds_x && flags & PANEL_FLOAT) &&
            (layouts[i]->nr <= MAX_PADDING_ROWS || n % layouts[i]->nr == 0) &&
            panel_kernel_choose(layouts[i], 1, features))
            return layouts[i];
    return NULL;
}
