#!/usr/bin/env python3
"""Writes data/preference.safetensors: losses over pairs of answers (DPO, ORPO, KTO) and the gradients of all parameters
of data/llama, written from the formulas of their papers in PyTorch and computed in f64, one sequence at a time without
padding or packing (README.md lists the tensors)."""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

# Tokens of each sequence, and where its answer begins. Two sequences of a pair share their beginning.
LENGTHS = [[9, 12], [5, 4], [14, 7]]
BEGINS = [4, 2, 6]
LABELS = [1, 0, 1]
VOCABULARY = 43


def draw():
    generator = torch.Generator().manual_seed(31)
    pairs = []
    for lengths, begin in zip(LENGTHS, BEGINS):
        prompt = torch.randint(VOCABULARY, (begin,), generator=generator)
        pairs.append([torch.cat([prompt, torch.randint(VOCABULARY, (n - begin,), generator=generator)])
                      for n in lengths])
    return pairs, torch.randn(len(pairs), 2, generator=generator, dtype=torch.float64) * 3 - 30


def answer_log_probability(model, ids, begin):
    logits = model(ids[None]).logits[0, begin - 1:-1]
    return logits.log_softmax(-1).gather(-1, ids[begin:, None]).sum()


def dpo(first, second, reference, beta, smoothing):
    x = beta * ((first - reference[:, 0]) - (second - reference[:, 1]))
    return (-(1 - smoothing) * F.logsigmoid(x) - smoothing * F.logsigmoid(-x)).mean()


def orpo(first, second, counts, beta):
    p, q = first / counts[:, 0], second / counts[:, 1]
    odds = (p - torch.log(1 - torch.exp(p))) - (q - torch.log(1 - torch.exp(q)))
    return (-p - beta * F.logsigmoid(odds)).mean()


def kto(first, second, reference, beta, desirable, undesirable):
    reward = first - reference[:, 0]
    divergence = (second - reference[:, 1]).mean().clamp(min=0).detach()
    label = torch.tensor(LABELS)
    good = desirable * (1 - torch.sigmoid(beta * (reward - divergence)))
    bad = undesirable * (1 - torch.sigmoid(beta * (divergence - reward)))
    return torch.where(label == 1, good, bad).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).parent / "data")
    arguments = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(arguments.data / "llama", dtype=torch.float64)
    pairs, reference = draw()
    # Near the model's own, so that no sigmoid is saturated, and with a positive divergence.
    with torch.no_grad():
        own = torch.stack([torch.stack([answer_log_probability(model, ids, begin) for ids in pair])
                           for pair, begin in zip(pairs, BEGINS)])
    reference = own + (reference + 30) * 0.5 - torch.tensor([0.0, 2.0])
    # f32, as the values are kept.
    reference = reference.float().double()
    counts = torch.tensor([[n - begin for n in lengths] for lengths, begin in zip(LENGTHS, BEGINS)])
    tensors = {"ids": torch.cat([ids for pair in pairs for ids in pair]), "lengths": torch.tensor(LENGTHS),
               "begins": torch.tensor(BEGINS), "labels": torch.tensor(LABELS), "reference": reference,
               "log_probabilities": own}
    variants = {
        "dpo": lambda a, b: dpo(a, b, reference, 0.3, 0.0),
        "dpo_smoothed": lambda a, b: dpo(a, b, reference, 0.3, 0.1),
        "orpo": lambda a, b: orpo(a, b, counts, 0.2),
        "kto": lambda a, b: kto(a, b, reference, 0.3, 1.0, 1.5),
    }
    for name, loss_of in variants.items():
        model.zero_grad()
        scores = [[answer_log_probability(model, ids, begin) for ids in pair] for pair, begin in zip(pairs, BEGINS)]
        loss = loss_of(torch.stack([pair[0] for pair in scores]), torch.stack([pair[1] for pair in scores]))
        loss.backward()
        tensors[f"{name}.loss"] = loss.detach().reshape(1)
        for key, parameter in model.named_parameters():
            tensors[f"{name}.gradients.{key}"] = parameter.grad.float()
        print(f"{name}: loss {loss:.6f}")
    save_file({key: value.contiguous() for key, value in tensors.items()}, arguments.data / "preference.safetensors")


if __name__ == "__main__":
    main()
