/* The registry: one line per family. Where families share a name in GGUF files, the one whose marker is asked stands
 * before the one that needs none. */
#include "model/arch.h"

extern const struct arch arch_llama, arch_mistral, arch_mixtral, arch_olmoe, arch_qwen2, arch_qwen2_moe, arch_qwen3,
    arch_qwen3_moe, arch_qwen3_next, arch_qwen3_5, arch_qwen3_5_moe, arch_gpt_oss, arch_deepseek_v2, arch_deepseek_v3,
    arch_glm4_moe_lite, arch_gemma, arch_gemma2, arch_gemma3, arch_gemma4, arch_lfm2, arch_lfm2_moe;

const struct arch *const arch_list[] = {
    &arch_mixtral,     &arch_mistral,     &arch_llama,         &arch_olmoe,   &arch_qwen2,       &arch_qwen2_moe,
    &arch_qwen3,       &arch_qwen3_moe,   &arch_qwen3_next,    &arch_qwen3_5, &arch_qwen3_5_moe, &arch_gpt_oss,
    &arch_deepseek_v3, &arch_deepseek_v2, &arch_glm4_moe_lite, &arch_gemma,   &arch_gemma2,      &arch_gemma3,
    &arch_gemma4,      &arch_lfm2,        &arch_lfm2_moe,      NULL,
};
