/* scalar/tanh.h over vec16, operation by operation. Include after a vec_<isa>.h. */
#ifndef OPS_TMPL_TANH_TMPL_H
#define OPS_TMPL_TANH_TMPL_H

#include "ops/scalar/tanh.h"
#include "ops/tmpl/exp_tmpl.h"

static inline vec16 vec16_tanh(vec16 x)
{
    x = vec16_max(vec16_broadcast(-TANH_MAX), x);
    x = vec16_min(vec16_broadcast(TANH_MAX), x);
    vec16 one = vec16_broadcast(1.0f), rounded, r, p = vec16_exp_parts(vec16_add(x, x), &rounded, &r);
    vec16 power = vec16_scale_power(one, rounded);
    vec16 e = vec16_fma(power, vec16_fma(vec16_mul(p, r), r, r), vec16_sub(power, one));
    return vec16_div(e, vec16_add(e, vec16_broadcast(2.0f)));
}

#endif
