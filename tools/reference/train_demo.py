#!/usr/bin/env python3
"""Train the demo model, a small Qwen3-MoE on public-domain text, and save it as an ordinary Hugging Face folder.

usage: train_demo.py CORPUS OUT [--minutes M | --steps N] [--batch B] [--length T] [--seed S] [--threads N]
       train_demo.py --eval CHECKPOINT FILE... [--length T] [--threads N]

CORPUS is a folder, or a .tar.xz, with one UTF-8 file per kind of text (tales.txt, stories.txt, drama.txt, french.txt,
spanish.txt, code.txt); documents in a file are separated by a form feed. OUT receives config.json,
generation_config.json, tokenizer.json (kept if already there), tokenizer_config.json, model.safetensors (bf16, one
tensor per expert and matrix) and training.json (loss curve, held-out loss and expert load of each kind).

--eval prints loss, perplexity and bits per byte of each text with a checkpoint made by this script. Every token but
the first of a text is predicted once, in windows of --length tokens that do not see each other.

Needs torch, tokenizers, safetensors and numpy (requirements.txt), not transformers.
"""
import argparse
import io
import json
import math
import re
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

CONFIG = dict(vocab_size=4096, hidden_size=256, num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=2,
              head_dim=64, num_experts=16, num_experts_per_tok=2, moe_intermediate_size=256, rope_theta=10000.0,
              rms_norm_eps=1e-6, max_position_embeddings=1024)
PASSES = dict(tales=3, stories=1, drama=1, french=1, spanish=1, code=1)     # how often an epoch sees each kind
CHUNK = 4096                # tokens; long books are cut so that shuffling mixes the kinds
BALANCE = 0.01              # weight of the load-balancing loss of each layer
MUON_LR, ADAM_LR = 0.015, 3e-3
WARM_UP = 50                # steps
EOT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
NOT_NAMES = set("The And But Then When There They This That With What His Her She You For Now Not All One Once Upon It "
                "He As In So At On If Oh Yes No Well How Why Who Where".split())


# ---------------------------------------------------------------- data

def read_corpus(path):
    """{kind: list of documents} from a folder or a .tar.xz."""
    if path.is_dir():
        texts = {p.stem: p.read_text(encoding="utf-8") for p in path.glob("*.txt")}
    else:
        with tarfile.open(path, "r:xz") as tar:
            texts = {Path(m.name).stem: io.TextIOWrapper(tar.extractfile(m), encoding="utf-8").read()
                     for m in tar if m.isfile() and m.name.endswith(".txt")}
    missing = [k for k in PASSES if k not in texts]
    if missing:
        raise ValueError(f"{path}: no {', '.join(k + '.txt' for k in missing)}")
    return {k: texts[k].split("\f") for k in PASSES}


def train_tokenizer(docs):
    """Byte-level BPE over the whole corpus; the three special tokens come last."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=CONFIG["vocab_size"] - 3, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tok.train_from_iterator((d for kind in docs for d in docs[kind]), trainer)
    tok.add_special_tokens([EOT, IM_START, IM_END])
    if tok.get_vocab_size() != CONFIG["vocab_size"]:
        raise ValueError(f"the corpus gives {tok.get_vocab_size()} tokens, not {CONFIG['vocab_size']}")
    return tok


def dialogues(docs, rng):
    """Short requests answered by a passage of a tale or story, so that a chat with the model means something."""
    for kind in ("tales", "stories"):
        for doc in docs[kind]:
            title, _, body = doc.partition("\n\n")
            paras = [p for p in body.split("\n\n") if p.strip()]
            start = 0
            while start < len(paras):
                size, end = 0, start
                while end < len(paras) and size < 1100:
                    size += len(paras[end])
                    end += 1
                text = "\n\n".join(paras[start:end])
                names = [w for w in re.findall(r"(?<=[a-z,] )[A-Z][a-z]{2,}", text) if w not in NOT_NAMES]
                first, _, rest = text.partition(". ")
                r = rng.random()
                if start == 0 and r < .7:
                    ask = rng.choice([f'Tell me the story "{title}".', f"Tell me a story called {title}.", f"{title}"])
                elif names and r < .6:
                    ask = f"Tell me a story about {max(dict.fromkeys(names), key=names.count)}."
                elif r < .8 and 20 < len(first) < 200 and rest:
                    ask, text = f"Go on: {first}.", rest
                else:
                    ask = rng.choice(["Tell me a story.", "Once upon a time", "What happened next?", "Tell me a tale."])
                yield f"{IM_START}user\n{ask}{IM_END}\n{IM_START}assistant\n{text}{IM_END}\n{EOT}"
                start = end


def token_lists(tok, docs, rng):
    """Training pieces of one epoch (lists of ids) and {kind: held-out ids}, a fiftieth of each kind's chunks."""
    train, held = [], {}
    eot = tok.token_to_id(EOT)
    for kind, texts in docs.items():
        chunks = []
        for text in texts:
            ids = tok.encode(text).ids + [eot]
            chunks += [ids[i:i + CHUNK] for i in range(0, len(ids), CHUNK)]
        rng.shuffle(chunks)
        n_held = max(1, len(chunks) // 50)
        held[kind] = np.concatenate([np.array(c, np.int64) for c in chunks[:n_held]])
        train += chunks[n_held:] * PASSES[kind]
    train += [tok.encode(t).ids for t in dialogues(docs, rng)]
    return train, held


class Batches:
    """Endless rows of length + 1 ids; each epoch shuffles the pieces, joins them, cuts them and shuffles the cuts."""

    def __init__(self, train, rng):
        self.train, self.rng, self.pool, self.length = train, rng, [], 0

    def take(self, batch, length):
        """[batch, length + 1]"""
        if len(self.pool) < batch or length != self.length:
            order = self.rng.permutation(len(self.train))
            flat = np.concatenate([np.array(self.train[i], np.int64) for i in order])
            self.pool = [flat[i:i + length + 1] for i in range(0, len(flat) - length, length)]
            self.rng.shuffle(self.pool)
            self.length = length
        return torch.from_numpy(np.stack([self.pool.pop() for _ in range(batch)]))


# ---------------------------------------------------------------- model

class Model(torch.nn.Module):
    """Qwen3-MoE with tied embedding. Layers are stacked in the first axis of every parameter; products run in `dtype`,
    norms, router and residual stream in float32."""

    def __init__(self, config, dtype):
        super().__init__()
        self.c, self.dtype = config, dtype
        c = config
        hidden, layers, experts = c["hidden_size"], c["num_hidden_layers"], c["num_experts"]
        ff, dim = c["moe_intermediate_size"], c["head_dim"]
        n_q, n_kv = c["num_attention_heads"] * dim, c["num_key_value_heads"] * dim

        def matrix(*shape, gain=1.0):
            return torch.nn.Parameter(torch.randn(*shape) * gain / math.sqrt(shape[-1]))

        def ones(*shape):
            return torch.nn.Parameter(torch.ones(*shape))

        self.embed = torch.nn.Parameter(torch.randn(c["vocab_size"], hidden) * 0.02)
        self.wq, self.wk, self.wv = matrix(layers, n_q, hidden), matrix(layers, n_kv, hidden), matrix(layers, n_kv, hidden)
        self.wo = matrix(layers, hidden, n_q, gain=.3)
        self.gate, self.up = matrix(layers, experts, ff, hidden), matrix(layers, experts, ff, hidden)
        self.down = matrix(layers, experts, hidden, ff, gain=.3)
        self.router = torch.nn.Parameter(torch.randn(layers, experts, hidden) * 0.02)
        self.norm_attn, self.norm_ffn, self.norm_out = ones(layers, hidden), ones(layers, hidden), ones(hidden)
        self.norm_q, self.norm_k = ones(layers, dim), ones(layers, dim)

    def matrices(self):
        """The parameters Muon trains; Adam trains the others."""
        return [self.wq, self.wk, self.wv, self.wo, self.gate, self.up, self.down]

    def norm(self, x, weight):
        return F.rms_norm(x, (x.shape[-1],), weight, self.c["rms_norm_eps"])

    def rope(self, length):
        """cos and sin [length, head_dim] in the half-split layout."""
        dim = self.c["head_dim"]
        freq = 1.0 / self.c["rope_theta"] ** (torch.arange(0, dim, 2).float() / dim)
        angle = torch.outer(torch.arange(length).float(), freq).repeat(1, 2)
        return angle.cos().to(self.dtype), angle.sin().to(self.dtype)

    def attention(self, layer, x, cos, sin):
        """[B, T, hidden] -> [B, T, hidden]"""
        batch, length, _ = x.shape
        heads, dim = (batch, length, -1, self.c["head_dim"]), self.c["head_dim"]

        def rotate(v):
            return v * cos + torch.cat([-v[..., dim // 2:], v[..., :dim // 2]], -1) * sin

        weights = (self.wq, self.wk, self.wv, self.wo, self.norm_q, self.norm_k)
        wq, wk, wv, wo, nq, nk = (w[layer].to(self.dtype) for w in weights)
        q = self.norm((x @ wq.T).view(heads), nq).transpose(1, 2)
        k = self.norm((x @ wk.T).view(heads), nk).transpose(1, 2)
        v = (x @ wv.T).view(heads).transpose(1, 2)
        out = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True, enable_gqa=True)
        return out.transpose(1, 2).reshape(batch, length, -1) @ wo.T

    def mixture(self, layer, x):
        """x [n, hidden] -> sum of the chosen experts [n, hidden], balance loss, share of the work of each expert [E]."""
        n_experts, top_k = self.c["num_experts"], self.c["num_experts_per_tok"]
        p = (x.float() @ self.router[layer].T).softmax(-1)
        weight, chosen = p.topk(top_k, -1)
        weight = (weight / weight.sum(-1, keepdim=True)).to(x.dtype).flatten()
        flat = chosen.flatten()
        order = flat.argsort(stable=True)                       # the (row, choice) pairs, grouped by expert
        count = flat.bincount(minlength=n_experts)
        rows = order // top_k
        gate, up, down = (w[layer].to(x.dtype).unbind(0) for w in (self.gate, self.up, self.down))
        parts = [(F.silu(part @ gate[e].T) * (part @ up[e].T)) @ down[e].T
                 for e, part in enumerate(x[rows].split(count.tolist()))]
        out = torch.zeros_like(x).index_add(0, rows, torch.cat(parts) * weight[order][:, None])
        share = count.float() / flat.numel()
        return out, n_experts * (share * p.mean(0)).sum(), share

    def forward(self, ids):
        """ids [B, T] -> normed hidden [B, T, hidden], balance loss, shares [layers, E]"""
        batch, length = ids.shape
        cos, sin = self.rope(length)
        h, balance, shares = F.embedding(ids, self.embed), 0.0, []
        for layer in range(self.c["num_hidden_layers"]):
            h = h + self.attention(layer, self.norm(h, self.norm_attn[layer]).to(self.dtype), cos, sin).float()
            x = self.norm(h, self.norm_ffn[layer]).flatten(0, 1).to(self.dtype)
            y, loss, share = self.mixture(layer, x)
            h = h + y.float().view(batch, length, -1)
            balance = balance + loss
            shares.append(share)
        return self.norm(h, self.norm_out), balance, torch.stack(shares)

    def loss(self, ids):
        """ids [B, T + 1] -> mean cross-entropy of the next token, balance loss, shares [layers, E]"""
        h, balance, shares = self(ids[:, :-1])
        logits = h.flatten(0, 1).to(self.dtype) @ self.embed.to(self.dtype).T
        return F.cross_entropy(logits.float(), ids[:, 1:].flatten()), balance, shares

    def tensors(self):
        """{checkpoint name: view of a parameter}"""
        t = {"model.embed_tokens.weight": self.embed, "model.norm.weight": self.norm_out}
        layer_parts = {"input_layernorm": self.norm_attn, "post_attention_layernorm": self.norm_ffn,
                       "self_attn.q_proj": self.wq, "self_attn.k_proj": self.wk, "self_attn.v_proj": self.wv,
                       "self_attn.o_proj": self.wo, "self_attn.q_norm": self.norm_q, "self_attn.k_norm": self.norm_k,
                       "mlp.gate": self.router}
        expert_parts = {"gate_proj": self.gate, "up_proj": self.up, "down_proj": self.down}
        for i in range(self.c["num_hidden_layers"]):
            t |= {f"model.layers.{i}.{name}.weight": w[i] for name, w in layer_parts.items()}
            t |= {f"model.layers.{i}.mlp.experts.{e}.{name}.weight": w[i][e]
                  for e in range(self.c["num_experts"]) for name, w in expert_parts.items()}
        return t


# ---------------------------------------------------------------- optimiser

class Muon:
    """Momentum whose update is made orthogonal by Newton-Schulz steps (Jordan, 2024); the last two axes are the matrix."""

    def __init__(self, params, dtype):
        self.params, self.dtype = params, dtype
        self.momentum = [torch.zeros_like(p) for p in params]

    @torch.no_grad()
    def step(self, lr, decay=0.01):
        for p, m in zip(self.params, self.momentum):
            m.lerp_(p.grad, 0.05)
            g = p.grad.lerp(m, 0.95).flatten(0, -3)
            tall = g.shape[-2] > g.shape[-1]
            x = (g.mT if tall else g).to(self.dtype)
            x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
            for _ in range(5):
                a = x @ x.mT
                x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
            x = (x.mT if tall else x).float().view_as(p)
            p.mul_(1 - lr * decay).add_(x, alpha=-lr * max(1, p.shape[-2] / p.shape[-1]) ** .5)


# ---------------------------------------------------------------- training

def train(args):
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    docs = read_corpus(args.corpus)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "tokenizer.json"
    tok = Tokenizer.from_file(str(path)) if path.exists() else train_tokenizer(docs)
    tok.save(str(path))
    pieces, held = token_lists(tok, docs, rng)
    print(f"{sum(map(len, pieces)) / 1e6:.2f} M tokens an epoch, held out {({k: len(v) for k, v in held.items()})}", flush=True)
    model = Model(CONFIG, getattr(torch, args.dtype))
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    matrices = model.matrices()
    rest = [p for p in model.parameters() if not any(p is q for q in matrices)]
    muon, adam = Muon(matrices, model.dtype), torch.optim.AdamW(rest, lr=ADAM_LR, betas=(.9, .95), weight_decay=0.0)
    batches, curve, step, tokens, start = Batches(pieces, rng), [], 0, 0, time.time()
    while True:
        minutes = (time.time() - start) / 60
        done = step / args.steps if args.steps else minutes / args.minutes
        if done >= 1:
            break
        # The last fifth sees half as many texts of twice the length.
        batch, length = (args.batch, args.length) if done < .8 else (max(1, args.batch // 2), args.length * 2)
        rate = min(1, (step + 1) / WARM_UP) * (1 if done < .4 else max(0.02, (1 - done) / .6))
        loss, balance, shares = model.loss(batches.take(batch, length))
        (loss + BALANCE * balance).backward()
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        muon.step(MUON_LR * rate)
        for group in adam.param_groups:
            group["lr"] = ADAM_LR * rate
        adam.step()
        model.zero_grad(set_to_none=True)
        step += 1
        tokens += batch * length
        if step % 20 == 0 or step < 4:
            curve.append((step, tokens, round(loss.item(), 4)))
            print(f"step {step}, {minutes:.1f} min, {tokens / 1e6:.2f} M tokens, loss {loss.item():.3f}, "
                  f"expert share {shares.min():.3f} to {shares.max():.3f}", flush=True)
        if step % 400 == 0:
            save(model, tok, args.out)
    minutes = round((time.time() - start) / 60, 1)
    save(model, tok, args.out)
    write_json(args.out / "training.json", dict(
        steps=step, tokens=tokens, minutes=minutes, seed=args.seed, batch=args.batch, length=args.length,
        held_out={kind: held_out(model, ids) for kind, ids in held.items()}, curve=curve))


@torch.no_grad()
def held_out(model, ids):
    """Loss and expert shares on up to 16 windows of 512 tokens."""
    length = min(512, len(ids) - 1)
    n = min(16, (len(ids) - 1) // length)
    loss, _, shares = model.loss(torch.from_numpy(np.stack([ids[i * length:i * length + length + 1] for i in range(n)])))
    return dict(loss=round(loss.item(), 4), load=[[round(x, 4) for x in row] for row in shares.tolist()])


# ---------------------------------------------------------------- files

def write_json(path, obj):
    path.write_text(json.dumps(obj, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def save(model, tok, out):
    tensors = {k: v.detach().to(torch.bfloat16).contiguous() for k, v in model.tensors().items()}
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    eot, end = tok.token_to_id(EOT), tok.token_to_id(IM_END)
    shape = {k: v for k, v in model.c.items() if k != "rope_theta"}
    write_json(out / "config.json", dict(
        architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe", **shape,
        rope_parameters=dict(rope_type="default", rope_theta=model.c["rope_theta"]), hidden_act="silu",
        intermediate_size=model.c["moe_intermediate_size"], decoder_sparse_step=1, mlp_only_layers=[],
        norm_topk_prob=True, attention_bias=False, attention_dropout=0.0, use_sliding_window=False, sliding_window=None,
        tie_word_embeddings=True, output_router_logits=False, router_aux_loss_coef=BALANCE, initializer_range=0.02,
        use_cache=True, bos_token_id=None, eos_token_id=eot, torch_dtype="bfloat16"))
    write_json(out / "generation_config.json", dict(
        do_sample=True, temperature=0.8, top_p=0.95, eos_token_id=[eot, end], pad_token_id=eot))
    write_json(out / "tokenizer_config.json", dict(
        tokenizer_class="PreTrainedTokenizerFast", eos_token=IM_END, pad_token=EOT, bos_token=None, add_bos_token=False,
        clean_up_tokenization_spaces=False, model_max_length=model.c["max_position_embeddings"],
        chat_template=CHAT_TEMPLATE))


def load(folder):
    """Model in float32 from a checkpoint that `save` wrote."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["rope_theta"] = config["rope_parameters"]["rope_theta"]
    model = Model({k: config[k] for k in CONFIG}, torch.float32)
    stored, wanted = load_file(folder / "model.safetensors"), model.tensors()
    if stored.keys() != wanted.keys():
        raise ValueError(f"{folder}: not a checkpoint of this script")
    with torch.no_grad():
        for name, view in wanted.items():
            view.copy_(stored[name])
    return model


# ---------------------------------------------------------------- evaluation

@torch.no_grad()
def evaluate(args):
    model = load(args.eval)
    tok = Tokenizer.from_file(str(args.eval / "tokenizer.json"))
    print("| text | tokens | loss (nats/token) | perplexity | bits per byte |\n|---|---|---|---|---|")
    for path in args.files:
        text = path.read_text(encoding="utf-8")
        ids = torch.tensor(tok.encode(text).ids)
        total, predicted = 0.0, len(ids) - 1
        if predicted < 1:
            raise ValueError(f"{path}: too short")
        for i in range(0, predicted, args.length):
            window = ids[i:i + args.length + 1]
            total += model.loss(window[None])[0].item() * (len(window) - 1)
        loss, n_bytes = total / predicted, len(text.encode("utf-8"))
        bits = total / math.log(2) / n_bytes
        print(f"| {path.name} | {len(ids)} | {loss:.3f} | {math.exp(loss):.1f} | {bits:.3f} |", flush=True)


def main():
    ap = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].removeprefix("usage: "), description=__doc__.split("\n", 1)[0])
    ap.add_argument("paths", nargs="+", type=Path, help="CORPUS OUT, or the texts for --eval")
    ap.add_argument("--eval", type=Path, metavar="CHECKPOINT", help="measure texts instead of training")
    ap.add_argument("--minutes", type=float, default=75, help="training time (default 75)")
    ap.add_argument("--steps", type=int, default=0, help="number of steps instead of a time")
    ap.add_argument("--batch", type=int, default=8, help="texts a step (default 8)")
    ap.add_argument("--length", type=int, default=512, help="tokens a text or window (default 512)")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--threads", type=int, default=0, help="CPU threads (default: all)")
    ap.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16", help="type of the products in training")
    args = ap.parse_args()
    if min(args.minutes, args.batch, args.length) <= 0 or args.steps < 0 or args.threads < 0:
        ap.error("numbers must be positive")
    if args.threads:
        torch.set_num_threads(args.threads)
    if not args.eval and len(args.paths) != 2:
        ap.error("training needs CORPUS and OUT")
    try:
        if args.eval:
            args.files = args.paths
            evaluate(args)
        else:
            args.corpus, args.out = args.paths
            train(args)
    except (OSError, ValueError, KeyError, tarfile.TarError) as e:
        sys.exit(f"train_demo.py: {e}")


if __name__ == "__main__":
    main()
