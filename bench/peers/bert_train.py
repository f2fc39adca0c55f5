#!/usr/bin/env python3
"""Training throughput of a BERT with masked tokens in PyTorch on the CPU, at its strongest: fused attention, fused AdamW,
bf16 autocast, torch.compile, and the head over the masked 15 % alone.

Prints one line of JSON with the names that `fledge bench train --json` uses. LD_PRELOAD of jemalloc is the caller's part
(compare_train does it)."""

import torch

import bert
import gpt2
import training_run

MASKED = 0.15


def draw_masked(arguments, vocabulary):
    """Ids, the masked places counted through the batch, and what stood there."""
    ids = torch.randint(vocabulary, (arguments.batch, arguments.seq))
    per_row = round(MASKED * arguments.seq)
    places = torch.stack([torch.randperm(arguments.seq)[:per_row].sort().values for _ in range(arguments.batch)])
    masked_rows = (places + torch.arange(arguments.batch)[:, None] * arguments.seq).reshape(-1)
    return ids, masked_rows, torch.randint(vocabulary, masked_rows.shape)


def main():
    arguments = training_run.make_parser(__doc__, "config.json of a BERT").parse_args()
    torch.manual_seed(1)
    config = bert.read_config(arguments.model)
    model = bert.Bert(config).train()
    training_run.show(training_run.measure(
        arguments, model, gpt2.adamw(model, 3e-4), lambda: draw_masked(arguments, config["vocab_size"]),
        lambda forward, data: forward(*data)))


if __name__ == "__main__":
    main()
