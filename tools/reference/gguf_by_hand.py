"""GGUF files of families that the converters at hand do not know, written with the PyPI package gguf.

Names, keys and the order of rows are those of llama.cpp's converter of 2026, restated from its documentation and from
what its reader accepts; nothing here shares code with Sluice's own writer, so that its reader meets another's file.
"""
import copy
import json

import numpy as np
import torch

LAYER = {
    "input_layernorm.weight": "attn_norm.weight", "operator_norm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight", "ffn_norm.weight": "ffn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight", "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight", "self_attn.o_proj.weight": "attn_output.weight",
    "self_attn.out_proj.weight": "attn_output.weight",
    "self_attn.q_norm.weight": "attn_q_norm.weight", "self_attn.k_norm.weight": "attn_k_norm.weight",
    "self_attn.q_layernorm.weight": "attn_q_norm.weight", "self_attn.k_layernorm.weight": "attn_k_norm.weight",
    "self_attn.q_a_proj.weight": "attn_q_a.weight", "self_attn.q_a_layernorm.weight": "attn_q_a_norm.weight",
    "self_attn.q_b_proj.weight": "attn_q_b.weight", "self_attn.kv_a_proj_with_mqa.weight": "attn_kv_a_mqa.weight",
    "self_attn.kv_a_layernorm.weight": "attn_kv_a_norm.weight", "self_attn.kv_b_proj.weight": "attn_kv_b.weight",
    "conv.in_proj.weight": "shortconv.in_proj.weight", "conv.out_proj.weight": "shortconv.out_proj.weight",
    "conv.conv.weight": "shortconv.conv.weight",
    "linear_attn.in_proj_qkv.weight": "attn_qkv.weight", "linear_attn.in_proj_z.weight": "attn_gate.weight",
    "linear_attn.in_proj_b.weight": "ssm_beta.weight", "linear_attn.in_proj_a.weight": "ssm_alpha.weight",
    "linear_attn.in_proj_ba.weight": "ssm_ba.weight", "linear_attn.conv1d.weight": "ssm_conv1d.weight",
    "linear_attn.A_log": "ssm_a", "linear_attn.dt_bias": "ssm_dt.bias", "linear_attn.norm.weight": "ssm_norm.weight",
    "linear_attn.out_proj.weight": "ssm_out.weight",
    "mlp.gate.weight": "ffn_gate_inp.weight", "feed_forward.gate.weight": "ffn_gate_inp.weight",
    "mlp.gate.e_score_correction_bias": "exp_probs_b.bias", "feed_forward.expert_bias": "exp_probs_b.bias",
    "mlp.shared_expert_gate.weight": "ffn_gate_inp_shexp.weight",
    "mlp.experts.down_proj": "ffn_down_exps.weight", "feed_forward.experts.down_proj": "ffn_down_exps.weight",
    "feed_forward.w1.weight": "ffn_gate.weight", "feed_forward.w3.weight": "ffn_up.weight",
    "feed_forward.w2.weight": "ffn_down.weight",
    "router.proj.weight": "ffn_gate_inp.weight", "router.scale": "ffn_gate_inp.scale",
    "router.per_expert_scale": "ffn_down_exps.scale", "experts.gate_up_proj": "ffn_gate_up_exps.weight",
    "experts.down_proj": "ffn_down_exps.weight", "layer_scalar": "layer_output_scale.weight",
} | {f"mlp.{name}{part}_proj.weight": f"ffn_{part}{suffix}.weight" for part in ("gate", "up", "down")
     for name, suffix in (("", ""), ("shared_expert.", "_shexp"), ("shared_experts.", "_shexp"))}
GEMMA = {"post_attention_layernorm.weight": "post_attention_norm.weight",
         "pre_feedforward_layernorm.weight": "ffn_norm.weight",
         "post_feedforward_layernorm.weight": "post_ffw_norm.weight",
         "post_feedforward_layernorm_1.weight": "post_ffw_norm_1.weight",
         "pre_feedforward_layernorm_2.weight": "pre_ffw_norm_2.weight",
         "post_feedforward_layernorm_2.weight": "post_ffw_norm_2.weight"}
ENDS = {"model.embed_tokens.weight": "token_embd.weight", "lm_head.weight": "output.weight"}
HYBRID = ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text")
ARCH = {"qwen3_next": "qwen3next", "qwen3_5_text": "qwen35", "qwen3_5_moe_text": "qwen35moe", "lfm2_moe": "lfm2moe",
        "deepseek_v2": "deepseek2", "deepseek_v3": "deepseek2", "gemma4_text": "gemma4"}


# ---------------------------------------------------------------- rows of Gated DeltaNet

def tiled(rows, c, width):
    """Value heads [key head, copy] -> [copy, key head], each of `width` rows."""
    n_key, copies = c.linear_num_key_heads, c.linear_num_value_heads // c.linear_num_key_heads
    return rows.unflatten(0, (n_key, copies, width)).transpose(0, 1).flatten(0, 2)


def tiled_tail(rows, c):
    """Of rows that are all q, all k, all v."""
    keys = 2 * c.linear_num_key_heads * c.linear_key_head_dim
    return torch.cat([rows[:keys], tiled(rows[keys:], c, c.linear_value_head_dim)])


def ungrouped(rows, c):
    """Rows that are q, k, v, z of each key head -> all q, all k, all v; and all z."""
    copies = c.linear_num_value_heads // c.linear_num_key_heads
    dk, dv = c.linear_key_head_dim, copies * c.linear_value_head_dim
    q, k, v, z = rows.unflatten(0, (c.linear_num_key_heads, -1)).split([dk, dk, dv, dv], 1)
    return torch.cat([x.flatten(0, 1) for x in (q, k, v)]), z.flatten(0, 1)


def delta_tensor(name, x, c):
    """Pairs (name, tensor) of what a DeltaNet layer has under one name."""
    if name == "linear_attn.in_proj_qkvz.weight":
        qkv, z = ungrouped(x, c)
        return [("attn_qkv.weight", qkv), ("attn_gate.weight", z)]
    last = name.removeprefix("linear_attn.").removesuffix(".weight")
    if last == "conv1d":
        x = x.squeeze(1)
    if last == "A_log":
        x = -x.exp()
    if c.model_type != "qwen3_next":
        if last in ("in_proj_qkv", "conv1d"):
            x = tiled_tail(x, c)
        elif last == "in_proj_z":
            x = tiled(x, c, c.linear_value_head_dim)
        elif last in ("in_proj_b", "in_proj_a", "A_log", "dt_bias"):
            x = tiled(x, c, 1)
        elif last == "out_proj":
            x = tiled(x.T, c, c.linear_value_head_dim).T
    return [(LAYER[name], x)]


# ---------------------------------------------------------------- tensors

def layer_tensor(name, x, c):
    if name.startswith("linear_attn."):
        return delta_tensor(name, x, c)
    if c.model_type == "gemma4_text":                                                # gate and up stay together
        return [((LAYER | GEMMA)[name], x)]
    if name.endswith("experts.gate_up_proj"):
        gate, up = x.chunk(2, 1)
        return [("ffn_gate_exps.weight", gate), ("ffn_up_exps.weight", up)]
    if name == "self_attn.kv_b_proj.weight" and c.model_type == "deepseek_v3":        # layout B, since April 2025
        k, v = x.unflatten(0, (c.num_attention_heads, -1)).split([c.qk_nope_head_dim, c.v_head_dim], 1)
        return [("attn_k_b.weight", k.transpose(1, 2)), ("attn_v_b.weight", v)]
    if name == "conv.conv.weight":
        x = x.squeeze(1)
    if name == "mlp.shared_expert_gate.weight":
        x = x.flatten()
    place = LAYER[name]
    if c.model_type in HYBRID and place == "ffn_norm.weight":
        place = "post_attention_norm.weight"
    return [(place, x)]


def tensors(model, c):
    """All of the model, as the file has them."""
    for name, x in model.state_dict().items():
        x = x.float()
        if c.model_type in HYBRID and "norm" in name and "linear_attn.norm" not in name:
            x = x + 1
        if name in ENDS:
            if name != "lm_head.weight" or not c.tie_word_embeddings:
                yield ENDS[name], x
        elif name == "model.norm.weight":
            yield "output_norm.weight", x
        elif name == "model.embedding_norm.weight":
            yield "token_embd_norm.weight", x
        else:
            _, _, index, rest = name.split(".", 3)
            for place, y in layer_tensor(rest, x, c):
                yield f"blk.{index}.{place}", y
    if c.model_type == "gemma4_text":
        turning = int(c.global_head_dim * c.rope_parameters["full_attention"]["partial_rotary_factor"]) // 2
        yield "rope_freqs.weight", torch.tensor([1.0] * turning + [1e30] * (c.global_head_dim // 2 - turning))


# ---------------------------------------------------------------- keys

def kv_heads(layer):
    attention = getattr(layer, "self_attn", None)
    return attention.k_proj.out_features // attention.head_dim if hasattr(attention, "k_proj") else 0


def attention_keys(w, c, layers):
    heads = [kv_heads(layer) for layer in layers]
    w.add_head_count(c.num_attention_heads)
    listed = c.model_type in ("lfm2_moe", "gemma4_text") and len(set(heads)) > 1
    w.add_head_count_kv(heads if listed else c.num_key_value_heads)
    w.add_layer_norm_rms_eps(c.norm_eps if c.model_type == "lfm2_moe" else c.rms_norm_eps)
    if c.model_type == "gemma4_text":
        return
    rope = c.rope_parameters
    w.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "yarn":
        w.add_string(f"{w.arch}.rope.scaling.type", "yarn")
        w.add_rope_scaling_factor(rope["factor"])
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        w.add_rope_scaling_yarn_log_mul(0.1 * rope["mscale_all_dim"])


def hybrid_keys(w, c):
    rotated = int(c.head_dim * c.rope_parameters["partial_rotary_factor"])
    w.add_key_length(c.head_dim)
    w.add_value_length(c.head_dim)
    w.add_rope_dimension_count(rotated)
    if c.model_type != "qwen3_next":
        w.add_rope_dimension_sections([(rotated // 2 + 2) // 3, (rotated // 2 + 1) // 3, rotated // 6, 0])
    w.add_ssm_conv_kernel(c.linear_conv_kernel_dim)
    w.add_ssm_state_size(c.linear_key_head_dim)
    w.add_ssm_group_count(c.linear_num_key_heads)
    w.add_ssm_time_step_rank(c.linear_num_value_heads)
    w.add_ssm_inner_size(c.linear_num_value_heads * c.linear_value_head_dim)
    w.add_uint32(f"{w.arch}.full_attention_interval", c.layer_types.index("full_attention") + 1)
    if c.model_type == "qwen3_5_text":
        w.add_feed_forward_length(c.intermediate_size)
    else:
        w.add_expert_count(c.num_experts)
        w.add_expert_used_count(c.num_experts_per_tok)
        w.add_expert_feed_forward_length(c.moe_intermediate_size)
        w.add_expert_shared_feed_forward_length(c.shared_expert_intermediate_size)


def lfm2_keys(w, c):
    w.add_feed_forward_length(c.intermediate_size)
    w.add_shortconv_l_cache(c.conv_L_cache)
    w.add_leading_dense_block_count(c.num_dense_layers)
    w.add_expert_count(c.num_experts)
    w.add_expert_used_count(c.num_experts_per_tok)
    w.add_expert_feed_forward_length(c.moe_intermediate_size)
    w.add_uint32(f"{w.arch}.expert_gating_func", 2)


def deepseek_keys(w, c):
    new = c.model_type == "deepseek_v3"
    head = c.qk_nope_head_dim + c.qk_rope_head_dim
    w.add_feed_forward_length(c.intermediate_size)
    w.add_leading_dense_block_count(c.first_k_dense_replace)
    w.add_kv_lora_rank(c.kv_lora_rank)
    if c.q_lora_rank:
        w.add_q_lora_rank(c.q_lora_rank)
    w.add_key_length(c.kv_lora_rank + c.qk_rope_head_dim if new else head)
    w.add_value_length(c.kv_lora_rank if new else c.v_head_dim)
    if new:
        w.add_uint32(f"{w.arch}.attention.key_length_mla", head)
        w.add_uint32(f"{w.arch}.attention.value_length_mla", c.v_head_dim)
        w.add_uint32(f"{w.arch}.expert_gating_func", 2)
        w.add_expert_weights_norm(c.norm_topk_prob)
        w.add_uint32(f"{w.arch}.expert_group_count", c.n_group)
        w.add_uint32(f"{w.arch}.expert_group_used_count", c.topk_group)
    w.add_rope_dimension_count(c.qk_rope_head_dim)
    w.add_expert_count(c.n_routed_experts)
    w.add_expert_used_count(c.num_experts_per_tok)
    w.add_expert_shared_count(c.n_shared_experts)
    w.add_expert_feed_forward_length(c.moe_intermediate_size)
    w.add_expert_weights_scale(c.routed_scaling_factor)


def gemma4_keys(w, c):
    rope = c.rope_parameters
    w.add_feed_forward_length(c.intermediate_size)
    w.add_sliding_window(c.sliding_window)
    w.add_array(f"{w.arch}.attention.sliding_window_pattern", [t == "sliding_attention" for t in c.layer_types])
    w.add_uint32(f"{w.arch}.attention.shared_kv_layers", 0)
    w.add_uint32(f"{w.arch}.embedding_length_per_layer_input", 0)
    w.add_final_logit_softcapping(c.final_logit_softcapping)
    w.add_key_length(c.global_head_dim)
    w.add_value_length(c.global_head_dim)
    w.add_rope_dimension_count(c.global_head_dim)
    w.add_rope_freq_base(rope["full_attention"]["rope_theta"])
    for name in ("attention.key_length_swa", "attention.value_length_swa", "rope.dimension_count_swa"):
        w.add_uint32(f"{w.arch}.{name}", c.head_dim)
    w.add_float32(f"{w.arch}.rope.freq_base_swa", rope["sliding_attention"]["rope_theta"])
    if c.enable_moe_block:
        w.add_expert_count(c.num_experts)
        w.add_expert_used_count(c.top_k_experts)
        w.add_expert_feed_forward_length(c.moe_intermediate_size)


def tokenizer_keys(w, folder):
    text = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocab = text["model"]["vocab"] | {t["content"]: t["id"] for t in text["added_tokens"]}
    special = {t["id"] for t in text["added_tokens"] if t["special"]}
    tokens = sorted(vocab, key=vocab.get)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    w.add_token_list(tokens)
    w.add_token_types([3 if i in special else 1 for i in range(len(tokens))])
    w.add_token_merges([" ".join(m) for m in text["model"]["merges"]])


def write(path, model, folder):
    """A file of `model`, matrices in float16 where llama.cpp has them so, with the tokenizer in `folder`."""
    import gguf
    c = copy.deepcopy(model.config)
    c.allow_global_per_layer_attribute_access = True
    if c.model_type == "gemma4_text":
        c.global_head_dim = model.model.layers[c.layer_types.index("full_attention")].self_attn.head_dim
    w = gguf.GGUFWriter(path, ARCH[c.model_type])
    w.add_block_count(c.num_hidden_layers)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_vocab_size(c.vocab_size)
    if c.model_type.startswith("deepseek"):
        c.num_key_value_heads = 1 if c.model_type == "deepseek_v3" else c.num_attention_heads
    attention_keys(w, c, model.model.layers)
    keys = {"lfm2_moe": lfm2_keys, "gemma4_text": gemma4_keys, "deepseek_v2": deepseek_keys,
            "deepseek_v3": deepseek_keys}
    keys.get(c.model_type, hybrid_keys)(w, c)
    tokenizer_keys(w, folder)
    w.add_eos_token_id(c.eos_token_id)
    for name, x in tensors(model, c):
        small = x.ndim < 2 or "conv" in name or "ffn_gate_inp" in name
        w.add_tensor(name, np.ascontiguousarray(x.detach().numpy().astype(np.float32 if small else np.float16)))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
