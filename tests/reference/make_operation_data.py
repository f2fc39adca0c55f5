#!/usr/bin/env python3
"""Writes data/operations/NAME.safetensors: inputs, outputs and gradients of single operations, all in f64, computed by
PyTorch (README.md lists the tensors). The shapes are odd on purpose."""

import argparse
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

DOUBLE = torch.float64


class Case:
    """Draws inputs, runs one operation, keeps inputs, output and gradients under their names."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)
        self.inputs = {}
        self.tensors = {}

    def normal(self, name, *shape, scale=1.0, shift=0.0):
        value = torch.randn(shape, generator=self.generator, dtype=DOUBLE) * scale + shift
        self.inputs[name] = value.requires_grad_()
        return value

    def values(self, name, values):
        self.inputs[name] = torch.tensor(values, dtype=DOUBLE).requires_grad_()
        return self.inputs[name]

    def integers(self, name, value):
        self.tensors[name] = value
        return value

    def setting(self, name, value):
        self.tensors[name] = torch.tensor([value], dtype=DOUBLE)

    def finish(self, output):
        """Back-propagates a random gradient of the output. `output.loss` style outputs are scalars and get 1."""
        gradient = torch.randn(output.shape, generator=self.generator, dtype=DOUBLE) if output.dim() else None
        output.backward(gradient)
        self.tensors["output"] = output.detach().reshape(output.shape or (1,))
        if gradient is not None:
            self.tensors["gradient.output"] = gradient
        for name, value in self.inputs.items():
            self.tensors[name] = value.detach()
            self.tensors[f"gradient.{name}"] = value.grad
        return {name: tensor.contiguous().clone() for name, tensor in self.tensors.items()}


def layer_norm():
    case = Case(1)
    case.setting("epsilon", 1e-5)
    # Rows with a mean far from zero show a variance that is computed as E[x^2] - E[x]^2.
    inputs = case.normal("input", 7, 37, scale=0.5, shift=3.0)
    weight = case.normal("weight", 37, scale=0.2, shift=1.0)
    return case.finish(F.layer_norm(inputs, (37,), weight, case.normal("bias", 37), 1e-5))


def activation(approximate):
    # A grid from both tails through zero: [67] points between -11 and 11.
    case = Case(2)
    points = [-11.0 + 22.0 * i / 66 for i in range(67)]
    return case.finish(F.gelu(case.values("input", points), approximate=approximate))


def embedding():
    case = Case(3)
    table = case.normal("weight", 11, 5)
    # Ids that occur more than once must add up; ids that do not occur get zero.
    ids = case.integers("ids", torch.tensor([[3, 3, 0, 10], [7, 3, 0, 1], [10, 2, 2, 2]]))
    return case.finish(F.embedding(ids, table))


def linear():
    # GPT-2's layout: the weight is [inputs, outputs].
    case = Case(4)
    inputs, weight, bias = case.normal("input", 3, 5, 19), case.normal("weight", 19, 23), case.normal("bias", 23)
    return case.finish(inputs @ weight + bias)


def linear_gelu():
    case = Case(5)
    inputs, weight = case.normal("input", 3, 5, 19), case.normal("weight", 19, 23, scale=0.3)
    return case.finish(F.gelu(inputs @ weight + case.normal("bias", 23), approximate="tanh"))


def causal_attention():
    case = Case(6)
    query, key, value = (case.normal(name, 2, 3, 13, 11) for name in ("query", "key", "value"))
    return case.finish(F.scaled_dot_product_attention(query, key, value, is_causal=True))


def long_causal_attention():
    # Longer than any tile, with scores far from zero, so that running maxima and rescaling do work.
    case = Case(7)
    query = case.normal("query", 1, 2, 151, 10, scale=3.0)
    key, value = case.normal("key", 1, 2, 151, 10, scale=3.0), case.normal("value", 1, 2, 151, 10)
    return case.finish(F.scaled_dot_product_attention(query, key, value, is_causal=True))


def packed_attention():
    # One row of 31 tokens that holds documents of 1, 9, 5 and 16 tokens: each attends causally to itself alone.
    case = Case(8)
    starts = [0, 1, 10, 15, 31]
    case.integers("document_starts", torch.tensor(starts))
    document = torch.zeros(31, dtype=torch.long)
    for start in starts[1:-1]:
        document[start:] += 1
    position = torch.arange(31)
    mask = (document[:, None] == document[None, :]) & (position[:, None] >= position[None, :])
    query, key, value = (case.normal(name, 1, 3, 31, 12) for name in ("query", "key", "value"))
    return case.finish(F.scaled_dot_product_attention(query, key, value, attn_mask=mask))


def cross_attention():
    # Query and key of different lengths and sources, value heads of another size, full mask, scale of its own.
    case = Case(9)
    case.setting("scale", 0.17)
    query, key = case.normal("query", 2, 3, 5, 12), case.normal("key", 2, 3, 17, 12)
    scores = query @ key.transpose(-1, -2) * 0.17
    return case.finish(torch.softmax(scores, -1) @ case.normal("value", 2, 3, 17, 7))


def rms_norm():
    case = Case(13)
    case.setting("epsilon", 1e-5)
    inputs = case.normal("input", 7, 37, scale=0.5, shift=0.3)
    return case.finish(F.rms_norm(inputs, (37,), case.normal("weight", 37, scale=0.2, shift=1.0), 1e-5))


def head_rms_norm():
    # Rows of three query heads, one key head and one value head: the first two kinds are normalized, each head alone.
    case = Case(14)
    case.setting("epsilon", 1e-3)
    query, key, value = (case.normal("input", 2, 5, 5 * 6)).view(2, 5, 5, 6).split([3, 1, 1], 2)
    query = F.rms_norm(query, (6,), case.normal("query_weight", 6), 1e-3)
    key = F.rms_norm(key, (6,), case.normal("key_weight", 6), 1e-3)
    return case.finish(torch.cat([query, key, value], 2).flatten(2))


def rotary():
    # Two of three heads are turned; the positions of the rows differ.
    case = Case(15)
    inputs = case.normal("input", 2, 5, 3 * 10).view(2, 5, 3, 10)
    positions = case.integers("positions", torch.tensor([[0, 1, 2, 3, 4], [7, 8, 9, 0, 1]]))
    frequencies = 10000.0 ** (-torch.arange(0, 10, 2, dtype=torch.float32) / 10)
    case.tensors["inverse_frequencies"] = frequencies
    angles = (positions[..., None].float() * frequencies).repeat(1, 1, 2).double()[:, :, None]
    turned, rest = inputs.split([2, 1], 2)
    half = torch.cat([-turned[..., 5:], turned[..., :5]], -1)
    return case.finish(torch.cat([turned * angles.cos() + half * angles.sin(), rest], 2).flatten(2))


def swiglu():
    case = Case(16)
    gate, up = case.normal("input", 3, 5, 2 * 17, scale=3.0).chunk(2, -1)
    return case.finish(F.silu(gate) * up)


def grouped_attention(window):
    # Six query heads on two key heads; the order here is B, T, H, D. With a window a token sees so many, itself the last.
    case = Case(17 + window)
    query, key, value = case.normal("query", 2, 13, 6, 10), case.normal("key", 2, 13, 2, 10), case.normal("value", 2, 13, 2, 8)
    position = torch.arange(13)
    distance = position[:, None] - position[None, :]
    mask = (distance >= 0) & (distance < (window or 13))
    output = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (query, key, value)), attn_mask=mask,
                                            enable_gqa=True)
    return case.finish(output.transpose(1, 2).flatten(2))


def cross_entropy():
    case = Case(10)
    logits = case.normal("logits", 9, 43, scale=4.0)
    targets = case.integers("targets", torch.tensor([0, 42, -100, 7, 7, -100, 11, 30, -100]))
    return case.finish(F.cross_entropy(logits, targets, ignore_index=-100))


def linear_cross_entropy():
    # The head as GPT-2 ties it: logits = hidden @ weight^T, weight [vocabulary, hidden].
    case = Case(11)
    hidden, weight = case.normal("hidden", 9, 17), case.normal("weight", 43, 17)
    targets = case.integers("targets", torch.tensor([0, 42, -100, 7, 7, -100, 11, 30, -100]))
    return case.finish(F.cross_entropy(hidden @ weight.T, targets, ignore_index=-100))


def adamw():
    """Three steps on one matrix with decay; the gradients are given."""
    generator = torch.Generator().manual_seed(12)
    parameter = torch.randn(5, 7, generator=generator, dtype=DOUBLE)
    gradients = torch.randn(3, 5, 7, generator=generator, dtype=DOUBLE)
    tensors = {"before": parameter.clone(), "gradients": gradients, "settings": torch.tensor(
        [1e-3, 0.9, 0.95, 1e-8, 0.1], dtype=DOUBLE)}
    parameter.requires_grad_()
    optimizer = torch.optim.AdamW([parameter], lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    state = optimizer.state[parameter]
    tensors |= {"after": parameter.detach(), "first_moment": state["exp_avg"], "second_moment": state["exp_avg_sq"]}
    return {name: tensor.contiguous().clone() for name, tensor in tensors.items()}


OPERATIONS = {
    "layer_norm": layer_norm,
    "gelu_tanh": lambda: activation("tanh"),
    "gelu_exact": lambda: activation("none"),
    "rms_norm": rms_norm,
    "head_rms_norm": head_rms_norm,
    "rotary": rotary,
    "swiglu": swiglu,
    "embedding": embedding,
    "linear": linear,
    "linear_gelu_tanh": linear_gelu,
    "causal_attention": causal_attention,
    "long_causal_attention": long_causal_attention,
    "packed_attention": packed_attention,
    "cross_attention": cross_attention,
    "grouped_attention": lambda: grouped_attention(0),
    "window_attention": lambda: grouped_attention(4),
    "cross_entropy": cross_entropy,
    "linear_cross_entropy": linear_cross_entropy,
    "adamw": adamw,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data" / "operations")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, make in OPERATIONS.items():
        tensors = make()
        if not all(math.isfinite(t.double().abs().max()) for t in tensors.values()):
            raise SystemExit(f"{name}: a value is not finite")
        save_file(tensors, arguments.out / f"{name}.safetensors")
        print(f"{name}: " + ", ".join(f"{key} {list(value.shape)}" for key, value in tensors.items()))


if __name__ == "__main__":
    main()
