#!/usr/bin/env python3
"""Writes data/bert_pretraining and data/bert_encoder: Hugging Face folders of tiny BERT models, and beside each one what
transformers computes with it (README.md lists the tensors). Everything is computed in f64 and stored in f32."""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

import bert_reference as reference

VARIANTS = {
    "bert_pretraining": ("BertForPreTraining", dict(
        num_hidden_layers=2, hidden_size=30, num_attention_heads=3, intermediate_size=53, vocab_size=67,
        max_position_embeddings=23, type_vocab_size=2)),
    "bert_encoder": ("BertModel", dict(
        num_hidden_layers=1, hidden_size=28, num_attention_heads=2, intermediate_size=45, vocab_size=71,
        max_position_embeddings=19, type_vocab_size=2, hidden_act="gelu_new", layer_norm_eps=1e-6)),
}
ROWS, LENGTH, IGNORED = 3, 15, 9


def make(name, folder, architecture, sizes):
    model = reference.build_model(architecture, 3, scale=10.0, **sizes)
    model.save_pretrained(folder / name)
    model = model.double()
    batch = reference.draw_batch(torch.Generator().manual_seed(4), model.config, ROWS, LENGTH, IGNORED)
    tensors = dict(zip(("ids", "token_types", "lengths", "targets"), batch))
    with torch.no_grad():
        result = reference.outputs(model, *batch[:3])
    if architecture == "BertModel":
        tensors.update(hidden=result.last_hidden_state, pooled=result.pooler_output)
        # The gradients of sum(pooled * seed).
        seed = torch.randn(result.pooler_output.shape, dtype=torch.double, generator=torch.Generator().manual_seed(5))
        (reference.outputs(model, *batch[:3]).pooler_output * seed).sum().backward()
        tensors["seed"] = seed
        gradients = {key: value.grad for key, value in model.named_parameters()}
    else:
        loss, logits, gradients = reference.gradients(model, *batch)
        tensors.update(loss=loss.reshape(1), logits=logits, next_sentence=result.seq_relationship_logits)
    tensors.update({f"gradients.{key}": value for key, value in gradients.items()})
    tensors = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    save_file(tensors, folder / f"{name}_reference.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    arguments = parser.parse_args()
    for name, (architecture, sizes) in VARIANTS.items():
        make(name, arguments.out, architecture, sizes)


if __name__ == "__main__":
    main()
