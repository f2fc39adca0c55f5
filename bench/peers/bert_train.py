#!/usr/bin/env python3
"""Training throughput of a BERT with masked tokens in PyTorch on the CPU, at its strongest: fused attention, fused AdamW,
bf16 autocast, torch.compile, and the head over the masked 15 % alone.

Prints one line of JSON with the names that `fledge bench train --json` uses. LD_PRELOAD of jemalloc is the caller's part
(compare_train does it)."""

import argparse
import json
import resource
import statistics
import time

import torch

import bert
import gpt2

MASKED = 0.15


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="config.json of a BERT")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--seq", type=int, required=True)
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="bf16")
    parser.add_argument("--steps", type=int, default=10, help="measured steps")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    arguments = parser.parse_args()

    torch.manual_seed(1)
    config = bert.read_config(arguments.model)
    model = bert.Bert(config).train()
    optimizer = gpt2.adamw(model, 3e-4)
    forward = model if arguments.eager else torch.compile(model)
    shape = (arguments.batch, arguments.seq)
    per_row = round(MASKED * arguments.seq)

    times, losses, faults = [], [], 0
    for step in range(arguments.warmup + arguments.steps):
        ids = torch.randint(config["vocab_size"], shape)
        places = torch.stack([torch.randperm(arguments.seq)[:per_row].sort().values for _ in range(arguments.batch)])
        masked_rows = (places + torch.arange(arguments.batch)[:, None] * arguments.seq).reshape(-1)
        targets = torch.randint(config["vocab_size"], masked_rows.shape)
        faults_before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=arguments.dtype == "bf16"):
            loss = forward(ids, masked_rows, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step >= arguments.warmup:
            times.append(time.perf_counter() - start)
            faults += resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults_before

    print(json.dumps({
        "program": f"PyTorch {torch.__version__} {'eager' if arguments.eager else 'compile'}",
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens_per_second": shape[0] * shape[1] / statistics.median(times),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "minor_faults_per_step": faults / arguments.steps,
        "first_loss": losses[0],
        "loss": losses[-1],
        "threads": torch.get_num_threads(),
    }))


if __name__ == "__main__":
    main()
