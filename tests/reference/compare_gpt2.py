#!/usr/bin/env python3
"""Compares a fledge binary with transformers: logits, loss and every gradient of GPT-2, at odd sizes and at the size of
GPT-2 124M, and folders written by either side and read by the other. Exit code 1 where a bound is passed.

The reference runs in f64, so that the error shown is fledge's own. A tensor's error is norm(got - expected) /
norm(expected). The key's bias has no gradient in exact arithmetic (it moves all scores of a query alike): what is found
there is held to an absolute floor, see AttentionTerms.floors()."""

import torch
from safetensors.torch import load_file

import gpt2_reference as reference
from causal import compare_converted, draw_batch, fledge_logits, gradients, run_all
from comparison import GRADIENT_BOUND, LOGITS_BOUND, UNIT, as_argument, relative_error, run

CASES = {
    # name: settings of the model, rows, tokens, ignored targets, scale of the weights
    "odd": (dict(n_layer=2, n_embd=60, n_head=5, vocab_size=131, n_positions=41), 3, 37, 11, 10.0),
    "exact gelu": (dict(n_layer=2, n_embd=42, n_head=3, n_inner=85, vocab_size=97, n_positions=64,
                        activation_function="gelu", layer_norm_epsilon=1e-6), 2, 64, 0, 10.0),
    "one token": (dict(n_layer=2, n_embd=24, n_head=2, vocab_size=50, n_positions=8), 1, 1, 0, 10.0),
    "124m": (dict(n_layer=12, n_embd=768, n_head=12, vocab_size=50257, n_positions=1024), 2, 67, 9, 1.0),
}


def without_prefix(tensors):
    return {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}


class AttentionTerms:
    """Watches one block's attention, to sum up the sizes of the terms that make the gradient of the key's bias."""

    def __init__(self, block):
        self.heads = block.attn.num_heads
        block.attn.c_attn.register_forward_hook(lambda module, inputs, output: setattr(self, "qkv", output.detach()))
        block.attn.c_proj.register_full_backward_hook(
            lambda module, inputs, outputs: setattr(self, "gradient", inputs[0].detach()))

    def floors(self):
        """The gradients of the query's and the key's bias are sums over queries i and keys j of
        scale * P_ij (dP_ij - sum_k P_ik dP_ik), times k_j or q_i, with dP = dO V^T. For the key the whole is zero,
        because the bracket weighted by P sums to zero; with a single key the bracket itself is. Every term carries a
        few roundings (exp and its sum, two products, a difference) relative to the sizes of what was added and
        subtracted. The floor is 8 roundings of the sum of those sizes, which grows with the number of terms as the
        worst case does."""
        b, t, _ = self.qkv.shape
        query, key, value = self.qkv.view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        gradient = self.gradient.view(b, t, self.heads, -1).transpose(1, 2)
        scale = query.shape[-1] ** -0.5
        scores = query @ key.transpose(-1, -2) * scale
        hidden = torch.ones(t, t, dtype=torch.bool).triu(1)
        pattern = torch.softmax(scores.masked_fill(hidden, float("-inf")), -1)
        size = gradient.abs() @ value.abs().transpose(-1, -2)
        terms = pattern * (size + (pattern * size).sum(-1, keepdim=True)) * scale
        sums = {"query": torch.einsum("bhij,bhjd->hd", terms, key.abs()),
                "key": torch.einsum("bhij,bhid->hd", terms, query.abs())}
        return {part: 8 * UNIT * total.norm().item() for part, total in sums.items()}


def compare_gradients(report, got, expected, floors):
    got, expected = without_prefix(got), without_prefix(expected)
    got.pop("loss")
    if got.keys() != expected.keys():
        raise SystemExit(f"gradients differ in name: {sorted(got.keys() ^ expected.keys())}")
    worst = ("", 0.0)
    for name, tensor in expected.items():
        parts = [(name, 0.0, got[name], tensor)]
        if name in floors:
            thirds = zip(("query", "key", "value"), got[name].chunk(3), tensor.chunk(3))
            parts = [(f"{name} ({part})", floors[name].get(part, 0.0), a, b) for part, a, b in thirds]
        for part, floor, a, b in parts:
            if b.norm() <= floor:
                report.line(f"{part}, absolute", (a.double() - b).norm().item(), floor)
                continue
            error = relative_error(a, b)
            if not error <= GRADIENT_BOUND:
                report.line(part, error, GRADIENT_BOUND)
            worst = max(worst, (part, error), key=lambda entry: entry[1])
    report.line(f"worst gradient: {worst[0]}", worst[1], GRADIENT_BOUND)


def compare_case(report, binary, name, scratch):
    settings, rows, length, ignored, scale = CASES[name]
    print(f"{name}: {settings}, ids [{rows}, {length}]")
    model = reference.build_model(7, scale=scale, **settings)
    folder = scratch / name.replace(" ", "_")
    model.save_pretrained(folder)
    model = model.double()
    terms = {f"h.{i}.attn.c_attn.bias": AttentionTerms(block) for i, block in enumerate(model.transformer.h)}
    ids, targets = draw_batch(torch.Generator().manual_seed(8), rows, length, settings["vocab_size"], ignored)
    loss, logits, expected = gradients(model, ids, targets)

    report.line("logits", relative_error(fledge_logits(binary, folder, ids, scratch / "out"), logits), LOGITS_BOUND)
    if settings.get("activation_function") != "gelu":  # a GGUF file has no place for that one
        compare_converted(report, binary, folder, ids, logits, scratch)
    run(binary, "grads", folder, "--ids", as_argument(ids), "--targets", as_argument(targets), "--out", scratch / "out")
    got = load_file(scratch / "out")
    report.line("loss", abs(got["loss"].double().item() - loss.item()) / loss.item(), LOGITS_BOUND)
    floors = {key: watch.floors() for key, watch in terms.items()}
    compare_gradients(report, got, expected, floors)


if __name__ == "__main__":
    run_all(__doc__, CASES, compare_case, "n_layer = 2\nn_head = 3\nn_embd = 36\nn_positions = 29")
