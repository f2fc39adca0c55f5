#!/usr/bin/env python3
"""Writes data/llama, data/mistral, data/qwen2 and data/qwen3: Hugging Face folders of tiny Llama-type models, and beside
each one what transformers computes with it (README.md lists the tensors). Everything is computed in f64 (angles of
positions in f32, as transformers does) and stored in f32."""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from causal import draw_batch, gradients
from llama_reference import LLAMA3, build_model

# Odd sizes: no extent is a multiple of a vector register, a cache line or a tile.
SIZES = dict(num_hidden_layers=2, hidden_size=18, intermediate_size=21, vocab_size=43, max_position_embeddings=40)
VARIANTS = {
    "llama": dict(num_attention_heads=6, num_key_value_heads=2, head_dim=6, rope_parameters=LLAMA3, mlp_bias=True),
    "mistral": dict(num_attention_heads=3, num_key_value_heads=1, sliding_window=5, rms_norm_eps=1e-3),
    "qwen2": dict(num_attention_heads=3, num_key_value_heads=3, tie_word_embeddings=True, use_sliding_window=True,
                  sliding_window=7, max_window_layers=1),
    "qwen3": dict(num_attention_heads=4, num_key_value_heads=2, head_dim=10, tie_word_embeddings=True),
}
ROWS, LENGTH, IGNORED = 2, 13, 5


def make(family, folder, settings):
    model = build_model(3, family, scale=12.0, **{**SIZES, **settings})
    model.save_pretrained(folder / family)
    model = model.double()
    ids, targets = draw_batch(torch.Generator().manual_seed(4), ROWS, LENGTH, SIZES["vocab_size"], IGNORED)
    loss, logits, expected = gradients(model, ids, targets)
    tensors = {"ids": ids, "targets": targets, "loss": loss.reshape(1), "logits": logits}
    tensors.update({f"gradients.{key}": value for key, value in expected.items()})
    tensors = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    save_file(tensors, folder / f"{family}_reference.safetensors")
    print(f"{family}: loss {loss:.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for family, settings in VARIANTS.items():
        make(family, arguments.out, settings)


if __name__ == "__main__":
    main()
