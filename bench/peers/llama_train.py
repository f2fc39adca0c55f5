#!/usr/bin/env python3
"""Training throughput of transformers (and peft) on the CPU, at its strongest: a Llama-type model, all of it or a LoRA over
it, fused attention, fused AdamW, bf16, torch.compile.

Prints one line of JSON with the names that `fledge bench train --json` uses. With --write FOLDER it only writes a folder
with random weights in bf16, which both programs can then read. LD_PRELOAD of jemalloc is the caller's part (compare_train
does it)."""

import json
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

import gpt2
import training_run

# What fledge adapts where a recipe names no targets: every linear layer of the blocks.
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def make_model(arguments):
    if Path(arguments.model).is_dir():
        # A frozen base needs no f32; full training keeps f32 weights under autocast.
        dtype = torch.bfloat16 if arguments.lora and arguments.dtype == "bf16" else torch.float32
        model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=dtype, attn_implementation="sdpa")
    else:
        torch.manual_seed(1)
        config = AutoConfig.for_model(**json.loads(Path(arguments.model).read_text(encoding="utf-8")))
        model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    model.config.use_cache = False
    if not arguments.lora:
        return model
    from peft import LoraConfig, get_peft_model
    return get_peft_model(model, LoraConfig(r=arguments.lora, lora_alpha=2 * arguments.lora, target_modules=TARGETS,
                                            task_type="CAUSAL_LM"))


def main():
    parser = training_run.make_parser(__doc__, "config.json of a Llama-type model, or a folder with its weights")
    parser.add_argument("--lora", type=int, default=0, help="rank of an adapter; 0: all weights are trained")
    parser.add_argument("--write", help="write random weights to this folder and end")
    arguments = parser.parse_args()

    model = make_model(arguments)
    if arguments.write:
        model.to(torch.bfloat16).save_pretrained(arguments.write)
        return
    model.train()
    if arguments.lora:
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=3e-4, weight_decay=0.0, fused=True)
    else:
        optimizer = gpt2.adamw(model, 3e-4)
    training_run.show(training_run.measure(
        arguments, model, optimizer, lambda: training_run.draw_next_tokens(arguments, model.config.vocab_size),
        lambda forward, data: forward(input_ids=data[0], labels=data[1]).loss))


if __name__ == "__main__":
    main()
