#!/usr/bin/env python3
"""Writes data/gpt2_gelu_new and data/gpt2_gelu: Hugging Face folders of tiny GPT-2 models, and beside each one what
transformers computes with it (README.md lists the tensors). Everything is computed in f64 and stored in f32, so the
reference itself is right to half a unit in the last place."""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

import gpt2_reference as reference
from causal import draw_batch, gradients

# Odd sizes: no extent is a multiple of a vector register, a cache line or a tile.
VARIANTS = {
    "gpt2_gelu_new": dict(
        seed=1, activation_function="gelu_new",
        n_layer=2, n_embd=36, n_head=3, vocab_size=97, n_positions=29, layer_norm_epsilon=1e-5),
    "gpt2_gelu": dict(
        seed=2, activation_function="gelu",
        n_layer=2, n_embd=30, n_head=2, n_inner=53, vocab_size=101, n_positions=17, layer_norm_epsilon=3e-4),
}
ROWS, LENGTH, IGNORED, STEPS = 2, 13, 5, 10


def make(name, folder, seed, **sizes):
    model = reference.build_model(seed, scale=10.0, **sizes)
    model.save_pretrained(folder / name)
    model = model.double()
    generator = torch.Generator().manual_seed(seed)
    vocabulary = sizes["vocab_size"]

    ids, targets = draw_batch(generator, ROWS, LENGTH, vocabulary, IGNORED)
    loss, logits, expected = gradients(model, ids, targets)
    tensors = {"ids": ids, "targets": targets, "loss": loss.reshape(1), "logits": logits}
    tensors.update({f"gradients.{key}": value for key, value in expected.items()})

    optimizer = reference.adamw(model)
    batches, losses, norms = [], [], []
    for step in range(STEPS):
        batches.append(draw_batch(generator, ROWS, LENGTH, vocabulary, IGNORED if step % 2 else 0))
        loss, _, _ = gradients(model, *batches[-1])
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0))
        optimizer.step()
        losses.append(loss)
    tensors["steps.ids"] = torch.stack([ids for ids, _ in batches])
    tensors["steps.targets"] = torch.stack([targets for _, targets in batches])
    tensors["steps.losses"] = torch.stack(losses)
    tensors["steps.gradient_norms"] = torch.stack(norms)
    tensors.update({f"after.{key}": value.detach().clone() for key, value in model.named_parameters()})

    tensors = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    save_file(tensors, folder / f"{name}_reference.safetensors")
    print(f"{name}: loss {losses[0]:.4f} -> {losses[-1]:.4f}, gradient norms {norms[0]:.3f} .. {norms[-1]:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, settings in VARIANTS.items():
        make(name, arguments.out, **settings)


if __name__ == "__main__":
    main()
