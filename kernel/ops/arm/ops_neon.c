/* The operations of struct ops on AArch64 NEON. The vector header refuses to compile elsewhere. */
#include "ops/arm/vec_neon.h"

#define OPS_NAME(operation) ops_##operation##_neon
#include "ops/tmpl/vector_tmpl.h"
#include "ops/tmpl/attention_tmpl.h"
