#!/usr/bin/env python3
"""Writes data/bert_pretraining, data/bert_encoder and data/bert_labels, _score and _tokens: Hugging Face folders of tiny
BERT models, and beside each one what transformers computes with it (README.md lists the tensors): outputs and gradients,
and ten steps of training. Everything is computed in f64 and stored in f32."""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

import bert_reference as reference
from gpt2_reference import adamw

VARIANTS = {
    "bert_pretraining": ("BertForPreTraining", dict(
        num_hidden_layers=2, hidden_size=30, num_attention_heads=3, intermediate_size=53, vocab_size=67,
        max_position_embeddings=23, type_vocab_size=2)),
    "bert_encoder": ("BertModel", dict(
        num_hidden_layers=1, hidden_size=28, num_attention_heads=2, intermediate_size=45, vocab_size=71,
        max_position_embeddings=19, type_vocab_size=2, hidden_act="gelu_new", layer_norm_eps=1e-6)),
}
SMALL = dict(num_hidden_layers=1, hidden_size=24, num_attention_heads=3, intermediate_size=37, vocab_size=53,
             max_position_embeddings=17, type_vocab_size=2)
TRAINED = {
    "bert_labels": ("BertForSequenceClassification", dict(SMALL, num_labels=3)),
    "bert_score": ("BertForSequenceClassification", dict(SMALL, num_labels=1)),
    "bert_tokens": ("BertForTokenClassification", dict(SMALL, num_labels=4)),
}
ROWS, LENGTH, IGNORED = 3, 15, 9
STEPS = 10


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


def make_training(name, folder, architecture, sizes, seed=5):
    """Ten steps of AdamW; the gradients are those of the first."""
    model = reference.build_model(architecture, seed, scale=10.0, **sizes)
    if not (folder / name).exists():
        model.save_pretrained(folder / name)
    model = model.double()
    generator = torch.Generator().manual_seed(6)
    optimizer = adamw(model)
    columns, losses, norms, tensors = {}, [], [], {}
    for step in range(STEPS):
        ids, segments, lengths, targets = reference.draw_batch(generator, model.config, ROWS, LENGTH - 1, 7)
        pretrains = architecture == "BertForPreTraining"
        labels = targets if pretrains else reference.draw_labels(generator, model.config, architecture, lengths, LENGTH - 1)
        pairs = torch.randint(2, (ROWS,), generator=generator) if pretrains else None
        optimizer.zero_grad(set_to_none=True)
        loss = reference.training_loss(model, ids, segments, lengths, labels, pairs)
        loss.backward()
        if step == 0:
            tensors.update({f"gradients.{key}": value.grad.clone() for key, value in model.named_parameters()})
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0))
        losses.append(loss.detach())
        optimizer.step()
        for key, value in zip(("ids", "token_types", "lengths", "labels", "next_sentence"), (ids, segments, lengths, labels, pairs)):
            if value is not None:
                columns.setdefault(f"steps.{key}", []).append(value)
    tensors.update({key: torch.stack(values) for key, values in columns.items()})
    tensors.update({"steps.losses": torch.stack(losses), "steps.gradient_norms": torch.stack(norms)})
    tensors.update({f"after.{key}": value.detach().clone() for key, value in model.named_parameters()})
    tensors = {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}
    save_file(tensors, folder / f"{name}_training_reference.safetensors")
    print(f"{name}: loss {losses[0]:.4f} -> {losses[-1]:.4f}, gradient norms {norms[0]:.3f} .. {norms[-1]:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    arguments = parser.parse_args()
    for name, (architecture, sizes) in VARIANTS.items():
        make(name, arguments.out, architecture, sizes)
    for name, (architecture, sizes) in TRAINED.items():
        make_training(name, arguments.out, architecture, sizes)
    make_training("bert_pretraining", arguments.out, *VARIANTS["bert_pretraining"], seed=3)  # the folder's own


if __name__ == "__main__":
    main()
