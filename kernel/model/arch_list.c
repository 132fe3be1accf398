/* The registry: one line per family. */
#include "model/arch.h"

extern const struct arch arch_llama, arch_mistral, arch_mixtral, arch_olmoe, arch_qwen2, arch_qwen2_moe, arch_qwen3,
    arch_qwen3_moe;

const struct arch *const arch_list[] = {
    &arch_llama,     &arch_mistral, &arch_mixtral,   &arch_olmoe, &arch_qwen2,
    &arch_qwen2_moe, &arch_qwen3,   &arch_qwen3_moe, NULL,
};
