#!/usr/bin/env python3
"""Training throughput of transformers (and peft) on the CPU, at its strongest: a Llama-type model, all of it or a LoRA over
it, fused attention, fused AdamW, bf16, torch.compile.

Prints one line of JSON with the names that `fledge bench train --json` uses. With --write FOLDER it only writes a folder
with random weights in bf16, which both programs can then read. LD_PRELOAD of jemalloc is the caller's part (compare_train
does it)."""

import argparse
import json
import resource
import statistics
import time
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

import gpt2

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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="config.json of a Llama-type model, or a folder with its weights")
    parser.add_argument("--lora", type=int, default=0, help="rank of an adapter; 0: all weights are trained")
    parser.add_argument("--write", help="write random weights to this folder and end")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seq", type=int, default=512)
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="bf16")
    parser.add_argument("--steps", type=int, default=10, help="measured steps")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    arguments = parser.parse_args()

    model = make_model(arguments)
    if arguments.write:
        model.to(torch.bfloat16).save_pretrained(arguments.write)
        return
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    if arguments.lora:
        optimizer = torch.optim.AdamW(trained, lr=3e-4, weight_decay=0.0, fused=True)
    else:
        optimizer = gpt2.adamw(model, 3e-4)
    forward = model if arguments.eager else torch.compile(model)
    vocabulary, shape = model.config.vocab_size, (arguments.batch, arguments.seq)

    times, losses, faults = [], [], 0
    for step in range(arguments.warmup + arguments.steps):
        ids, targets = torch.randint(vocabulary, shape), torch.randint(vocabulary, shape)
        faults_before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=arguments.dtype == "bf16"):
            loss = forward(input_ids=ids, labels=targets).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step >= arguments.warmup:
            times.append(time.perf_counter() - start)
            faults += resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults_before

    print(json.dumps({
        "program": f"PyTorch {torch.__version__} {'eager' if arguments.eager else 'compile'}",
        "trained_parameters": sum(p.numel() for p in trained),
        "tokens_per_second": shape[0] * shape[1] / statistics.median(times),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "minor_faults_per_step": faults / arguments.steps,
        "first_loss": losses[0],
        "loss": losses[-1],
        "threads": torch.get_num_threads(),
    }))


if __name__ == "__main__":
    main()
