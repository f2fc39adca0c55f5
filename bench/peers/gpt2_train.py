#!/usr/bin/env python3
"""Training throughput of PyTorch on the CPU, at its strongest: fused attention, fused AdamW, bf16 autocast, torch.compile.

Prints one line of JSON with the names that `fledge bench train --json` uses. LD_PRELOAD of jemalloc is the caller's part
(compare_train does it)."""

import torch

import gpt2
import training_run


def main():
    parser = training_run.make_parser(__doc__, "config.json of a GPT-2")
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    config = gpt2.read_config(arguments.model)
    model = gpt2.GPT2(config).train()
    result = training_run.measure(arguments, model, gpt2.adamw(model, 3e-4),
                                  lambda: training_run.draw_next_tokens(arguments, config["vocab_size"]),
                                  lambda forward, data: forward(*data))
    # 6 operations for each weight that multiplies a token, and 12 * L * C * T / 2 for causal attention
    # (Kaplan et al., "Scaling laws for neural language models", 2020, table 1).
    width, layers = config["n_embd"], config["n_layer"]
    per_token = 6 * (result["parameters"] - config["n_positions"] * width) + 6 * layers * width * arguments.seq
    training_run.show(result | {"gflops": per_token * result["tokens_per_second"] / 1e9})


if __name__ == "__main__":
    main()
