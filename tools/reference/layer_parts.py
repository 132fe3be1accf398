"""The parts of a decoder layer of any family that transformers has, and how its router chooses."""
import torch

SIGMOID = ("deepseek_v3", "glm4_moe_lite", "lfm2_moe")


def decoder(model):
    """The text model: what has embed_tokens and layers."""
    return getattr(model.model, "language_model", model.model)


def child(module, *names):
    """The first of the submodules that exists."""
    return next(getattr(module, name) for name in names if getattr(module, name, None) is not None)


class Parts:
    """The modules of a decoder layer whose outputs are kept."""

    def __init__(self, layer):
        sandwich = hasattr(layer, "pre_feedforward_layernorm")
        mlp = child(layer, "mlp", "feed_forward")
        self.layer = layer
        self.mixer = layer.post_attention_layernorm if sandwich else child(layer, "linear_attn", "self_attn", "conv")
        self.ffn = layer.post_feedforward_layernorm if sandwich else mlp
        self.block = next((m for m in (mlp, layer) if hasattr(m, "experts")), None)
        self.router = child(self.block, "router", "gate") if self.block else None

    def bias(self):
        """Added to the scores for the choice."""
        return next((b for n, b in self.block.named_buffers() if n.endswith(("correction_bias", "expert_bias"))), 0.0)


def router_scores(logits, family):
    if family == "gemma4_text":
        return logits                 # probabilities already
    return logits.sigmoid() if family in SIGMOID else logits.softmax(-1)


def choose(parts, scores, k, config):
    """The k best experts by scores [n, experts] and the selection bias, ids [n, k] ascending; and the least distance
    [n] between a chosen and an unchosen expert or group of experts, 1 when there is nothing to choose."""
    choice, gap = scores + parts.bias(), torch.ones(len(scores))
    groups, kept = getattr(config, "n_group", None) or 1, getattr(config, "topk_group", None) or 1
    if groups > kept:
        grouped = choice.unflatten(-1, (groups, -1))
        worth = grouped.amax(-1) if config.model_type == "deepseek_v2" else grouped.topk(2).values.sum(-1)
        best = worth.topk(kept + 1)
        gap = best.values[:, kept - 1] - best.values[:, kept]
        allowed = torch.zeros_like(worth).scatter(1, best.indices[:, :kept], 1.0)
        choice = torch.where(allowed.repeat_interleave(grouped.shape[-1], -1) > 0, choice, -torch.inf)
    if k < scores.shape[-1]:
        best = choice.topk(k + 1).values
        gap = torch.minimum(gap, best[:, k - 1] - best[:, k])
    return choice.topk(k).indices.sort(-1).values, gap
