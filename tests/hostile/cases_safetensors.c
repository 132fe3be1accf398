/* Rows S of the catalogue (see hostile.h). */
#include "tests/hostile/hostile.h"

const struct hostile_case hostile_safetensors[] = {{0}};
const size_t n_hostile_safetensors = 0;
