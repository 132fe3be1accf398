/* Rows K of the catalogue (see hostile.h). */
#include "tests/hostile/hostile.h"

const struct hostile_case hostile_tokenizer[] = {{0}};
const size_t n_hostile_tokenizer = 0;
