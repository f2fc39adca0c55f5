#!/usr/bin/env python3
"""Writes data/operations/distillation.safetensors: the loss of a student beside a teacher and its gradients, in f64, by
PyTorch's own cross_entropy and kl_div, for several weights, temperatures and directions (README.md lists the tensors).
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

DOUBLE = torch.float64
TARGETS = torch.tensor([0, 42, -100, 7, 7, -100, 11, 30, -100])
VOCABULARY, STUDENT_WIDTH, TEACHER_WIDTH, TOP = 43, 17, 21, 5


def whole(student, teacher, tau, reverse):
    """KL over the whole vocabulary, mean over the rows."""
    a, b = F.log_softmax(student / tau, -1), F.log_softmax(teacher / tau, -1)
    if reverse:
        a, b = b, a
    return F.kl_div(a, b, reduction="batchmean", log_target=True)


def with_tail(student, teacher, tau, reverse):
    """KL over the teacher's likeliest tokens and all the others as one outcome."""
    p, q = F.softmax(teacher / tau, -1), F.softmax(student / tau, -1)
    ids = p.topk(TOP, -1).indices

    def outcomes(x):
        listed = x.gather(-1, ids)
        rest = x.scatter(-1, ids, 0.0).sum(-1, keepdim=True)
        return torch.cat([listed, rest], -1).log()

    a, b = outcomes(q), outcomes(p)
    if reverse:
        a, b = b, a
    return F.kl_div(a, b, reduction="batchmean", log_target=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data" / "operations")
    arguments = parser.parse_args()
    generator = torch.Generator().manual_seed(21)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=DOUBLE)
    hidden, weight, bias = normal(9, STUDENT_WIDTH), normal(VOCABULARY, STUDENT_WIDTH) * 0.5, normal(VOCABULARY)
    teacher = normal(9, TEACHER_WIDTH) @ (normal(TEACHER_WIDTH, VOCABULARY) * 0.5)
    tensors = {"hidden": hidden, "weight": weight, "bias": bias, "teacher_logits": teacher, "targets": TARGETS,
               "top_ids": teacher.topk(TOP, -1).indices}
    keep = TARGETS >= 0
    for name, divergence in {"whole": whole, "top": with_tail}.items():
        for alpha in (0.0, 0.5, 1.0):
            for tau in (1.0, 4.0):
                for reverse in (False, True):
                    inputs = [value.clone().requires_grad_() for value in (hidden, weight, bias)]
                    student = (inputs[0] @ inputs[1].T + inputs[2])[keep]
                    loss = (1 - alpha) * F.cross_entropy(student, TARGETS[keep])
                    loss = loss + alpha * tau ** 2 * divergence(student, teacher[keep], tau, reverse)
                    loss.backward()
                    key = f"{name}.{alpha:g}.{tau:g}.{'reverse' if reverse else 'forward'}"
                    tensors[f"{key}.loss"] = loss.detach().reshape(1)
                    for part, value in zip(("hidden", "weight", "bias"), inputs):
                        tensors[f"{key}.gradient.{part}"] = value.grad
    arguments.out.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()},
              arguments.out / "distillation.safetensors")
    print(f"distillation: {len(tensors)} tensors")


if __name__ == "__main__":
    main()
