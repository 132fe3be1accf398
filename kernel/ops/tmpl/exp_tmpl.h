/* scalar/exp.h over vec16, operation by operation. Include after a vec_<isa>.h. */
#ifndef OPS_TMPL_EXP_TMPL_H
#define OPS_TMPL_EXP_TMPL_H

static inline vec16 vec16_exp_parts(vec16 x, vec16 *rounded, vec16 *r)
{
    *rounded = vec16_fma(x, vec16_broadcast(EXP_LOG2E), vec16_broadcast(EXP_ROUND));
    vec16 n = vec16_sub(*rounded, vec16_broadcast(EXP_ROUND));
    *r = vec16_fma(n, vec16_broadcast(-EXP_LN2_HIGH), x);
    *r = vec16_fma(n, vec16_broadcast(-EXP_LN2_LOW), *r);
    vec16 p = vec16_fma(*r, vec16_broadcast(EXP_C6), vec16_broadcast(EXP_C5));
    p = vec16_fma(p, *r, vec16_broadcast(EXP_C4));
    p = vec16_fma(p, *r, vec16_broadcast(EXP_C3));
    return vec16_fma(p, *r, vec16_broadcast(EXP_C2));
}

static inline vec16 vec16_exp(vec16 x)
{
    x = vec16_max(vec16_broadcast(EXP_MIN), x);
    x = vec16_min(vec16_broadcast(EXP_MAX), x);
    vec16 one = vec16_broadcast(1.0f), rounded, r, p = vec16_exp_parts(x, &rounded, &r);
    p = vec16_fma(p, r, one);
    p = vec16_fma(p, r, one);
    return vec16_scale_power(p, rounded);
}

#endif
