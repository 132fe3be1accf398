/* The operations of struct ops on AVX2 (with FMA and F16C). The vector header refuses to compile without the flags. */
#include "ops/x86/vec_avx2.h"

#define OPS_NAME(operation) ops_##operation##_avx2
#include "ops/tmpl/vector_tmpl.h"
#include "ops/tmpl/attention_tmpl.h"
