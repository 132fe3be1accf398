/* The operations of struct ops on AVX-512. The vector header refuses to compile without the flags. */
#include "ops/x86/vec_avx512.h"

#define OPS_NAME(operation) ops_##operation##_avx512
#include "ops/tmpl/vector_tmpl.h"
#include "ops/tmpl/attention_tmpl.h"
