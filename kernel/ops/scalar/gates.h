/* The constants of gates.c, which tmpl/vector_tmpl.h shares. */
#ifndef OPS_SCALAR_GATES_H
#define OPS_SCALAR_GATES_H

/* gelu(g) = g / (1 + exp(g (GELU_LINEAR + GELU_CUBIC g^2))) */
#define GELU_LINEAR -1.5957691216057308f /* -2 sqrt(2 / pi) */
#define GELU_CUBIC -0.0713548162726f     /* that times 0.044715 */
#define SWIGLU_SLOPE 1.702f              /* x sigmoid(1.702 x) is nearly gelu(x): Hendrycks 2016 */

#endif
