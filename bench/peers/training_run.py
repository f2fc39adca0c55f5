"""What the peers of `fledge bench train` have in common: their flags, the measured steps, and the line of JSON that they
print, with the names that `fledge bench train --json` uses."""

import argparse
import json
import resource
import statistics
import time

import torch


def make_parser(description, model_help):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help=model_help)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--seq", type=int, required=True)
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="bf16")
    parser.add_argument("--steps", type=int, default=10, help="measured steps")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    return parser


def page_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def measure(arguments, model, optimizer, draw, loss_of):
    """Trains, and returns what is printed. draw() makes a step's data, which is not measured; loss_of(forward, data) is
    the step's loss, where forward is the model, compiled unless --eager."""
    trained = [p for p in model.parameters() if p.requires_grad]
    forward = model if arguments.eager else torch.compile(model)
    times, losses, faults = [], [], 0
    for step in range(arguments.warmup + arguments.steps):
        data = draw()
        faults_before = page_faults()
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=arguments.dtype == "bf16"):
            loss = loss_of(forward, data)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step >= arguments.warmup:
            times.append(time.perf_counter() - start)
            faults += page_faults() - faults_before
    return {
        "program": f"PyTorch {torch.__version__} {'eager' if arguments.eager else 'compile'}",
        "parameters": sum(p.numel() for p in model.parameters()),
        "trained_parameters": sum(p.numel() for p in trained),
        "tokens_per_second": arguments.batch * arguments.seq / statistics.median(times),
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "minor_faults_per_step": faults / arguments.steps,
        "first_loss": losses[0],
        "loss": losses[-1],
        "threads": torch.get_num_threads(),
    }


def draw_next_tokens(arguments, vocabulary):
    shape = (arguments.batch, arguments.seq)
    return torch.randint(vocabulary, shape), torch.randint(vocabulary, shape)


def show(result):
    print(json.dumps(result))
