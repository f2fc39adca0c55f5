#!/usr/bin/env python3
"""Compares fledge with llama.cpp on the same GGUF file: greedy continuations and perplexity.

    tests/reference/compare_llamacpp.py build/release/fledge LLAMA_BIN MODEL.gguf... [--text FILE]

LLAMA_BIN is the folder with llama-server and llama-perplexity of a llama.cpp that was built by hand. Twenty prompts are
continued by 64 tokens, always with the likeliest one. Both programs round activations to int8 before every product (to
bf16 for bf16 weights). One number that rounds the other way because the last bits of a sum differ turns up in every
later layer, so two programs that add in different orders differ as much from each other as each does from the same
weights without rounded activations. That exact model is computed here too, by transformers in f32 from the same file.
What a program is measured by is the gap between the exact model's two likeliest tokens, in nats, at every place that
both programs reach by the same tokens: the root mean square of its difference from the exact one is the program's
noise. fledge's may be at most 1.42 times llama.cpp's: in bf16 it rounds the results of products as well as their
operands, twice as often, which is the square root of two; with --dtype f32 it rounds only where the weights' type asks.
Where the two part, the gaps of all three are printed. It is a near-tie where rounding alone decides: the exact gap
between the two tokens is at most three times the noise. With --text, the perplexity over chunks of 512 tokens may differ
by 0.5 %. Needs torch, transformers and gguf."""

import argparse
import json
import math
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tokenizer_texts import texts

PROMPTS = [
    "The capital of France is", "Once upon a time there was", "def fibonacci(n):", "The three laws of motion are",
    "Dear Sir or Madam,", "In 1969 the first", "Water boils at", "It is a truth universally acknowledged, that",
    "To bake bread you need", "The quick brown fox", "1, 2, 3, 4,", "My favourite book is", "The sun rises in",
    "Photosynthesis is the process by which", "SELECT name FROM", "She opened the door and", "A haiku about autumn:\n",
    "The difference between a cat and a dog is", "Breaking news:", "Roses are red,",
]


def post(port, path, body):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as response:
        return json.load(response)


class LlamaServer:
    def __init__(self, folder, model, threads, port=18731):
        self.port = port
        self.process = subprocess.Popen(
            [folder / "llama-server", "-m", model, "--port", str(port), "-t", str(threads), "-c", "2048", "-np", "1"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
                return
            except OSError:
                time.sleep(0.2)
        raise SystemExit("llama-server did not start")

    def close(self):
        self.process.terminate()
        self.process.wait()

    def tokenize(self, text):
        return post(self.port, "/tokenize", {"content": text, "add_special": False})["tokens"]

    def tokenize_whole(self, text, special):
        return post(self.port, "/tokenize", {"content": text, "add_special": False, "parse_special": special})["tokens"]

    def continue_ids(self, ids, count, probabilities=0):
        body = {"prompt": ids, "n_predict": count, "temperature": 0, "top_k": 1, "cache_prompt": False,
                "return_tokens": True, "n_probs": probabilities, "post_sampling_probs": False}
        return post(self.port, "/completion", body)

    def log_probabilities(self, answer):
        """For each token of an answer, the log-probabilities of the likeliest ones at its place."""
        return [{entry["id"]: entry["logprob"] for entry in place["top_logprobs"]}
                for place in answer["completion_probabilities"]]


class FledgeServer:
    """fledge serve, for its tokenizer: starting a program for each of a thousand texts takes minutes."""

    def __init__(self, fledge, model, port=18732):
        self.port = port
        self.process = subprocess.Popen([fledge, "serve", model, "--port", str(port), "--no-chats"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
                return
            except OSError:
                time.sleep(0.2)
        raise SystemExit("fledge serve did not start")

    def close(self):
        self.process.terminate()
        self.process.wait()

    def tokenize(self, text, special):
        return post(self.port, "/tokenize", {"content": text, "parse_special": special})["tokens"]


def run_fledge(arguments, *words):
    output = subprocess.run([arguments.fledge, *words, "--dtype", arguments.dtype, "--threads", str(arguments.threads),
                             "--json"], capture_output=True, text=True)
    if output.returncode:
        raise SystemExit(output.stderr)
    return json.loads(output.stdout)


def fledge_continue(arguments, model, ids, count, alternatives=0):
    return run_fledge(arguments, "generate", model, "--prompt-ids", ",".join(map(str, ids)), "--max-tokens", str(count),
                      "--temperature", "0", "--ignore-end", "--alternatives", str(alternatives))["tokens"]


class Exact:
    """The weights of a GGUF file without rounded activations."""

    def __init__(self, model):
        import torch
        from transformers import AutoModelForCausalLM

        self.torch = torch
        self.model = AutoModelForCausalLM.from_pretrained(str(model.parent), gguf_file=model.name, dtype=torch.float32)

    def tables(self, ids, count):
        """For each of the last `count` tokens, the log-probabilities of all tokens at its place."""
        with self.torch.no_grad():
            logits = self.model(self.torch.tensor([ids])).logits[0, len(ids) - count - 1:-1]
        return self.torch.log_softmax(logits, -1).tolist()


def gap(table, a, b):
    """Nats between two tokens; at least what lies between a listed one and the last of the list."""
    if isinstance(table, list):
        return table[a] - table[b]
    last = min(table.values())
    return table.get(a, last) - table.get(b, last)


def root_mean_square(values):
    return math.sqrt(sum(value * value for value in values) / len(values))


def compare_greedy(arguments, server, model):
    exact_model = Exact(model)
    fledge_noise, llama_noise, parted = [], [], []
    for prompt in PROMPTS:
        ids = server.tokenize(prompt)
        answer = server.continue_ids(ids, 64, 50)
        theirs, llama = answer["tokens"], server.log_probabilities(answer)
        if not theirs:
            raise SystemExit(f"llama-server continues {prompt!r} by nothing")
        # Where llama.cpp ends the text, only what stands before the end is compared.
        tokens = fledge_continue(arguments, model, ids, len(theirs), 50)
        ours = [token["id"] for token in tokens]
        fledge = [{entry["id"]: entry["log_probability"] for entry in token["alternatives"]} for token in tokens]
        exact = exact_model.tables(ids + theirs, len(theirs))
        same = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), len(theirs))
        for place in range(same):
            a, b = sorted(llama[place], key=lambda token: exact[place][token])[-1:-3:-1]
            fledge_noise.append(gap(fledge[place], a, b) - gap(exact[place], a, b))
            llama_noise.append(gap(llama[place], a, b) - gap(exact[place], a, b))
        if same < len(theirs):
            a, b = ours[same], theirs[same]
            parted.append((prompt, same, a, b, gap(fledge[same], a, b), gap(llama[same], a, b), gap(exact[same], a, b)))
    ours, theirs = root_mean_square(fledge_noise), root_mean_square(llama_noise)
    ties = right = 0
    for prompt, place, a, b, *gaps in parted:
        near = abs(gaps[2]) <= 3 * max(ours, theirs)
        ties += near
        right += gaps[2] > 0
        print(f"  {prompt!r} parts at token {place}: {a} is {gaps[0]:+.3f} nats before {b} in fledge, {gaps[1]:+.3f} in "
              f"llama.cpp, {gaps[2]:+.3f} in the exact model{'' if near else ': no tie'}")
    print(f"{model.name}: {len(PROMPTS) - len(parted)} of {len(PROMPTS)} continuations equal, {ties} part at a near-tie, "
          f"{len(parted) - ties} differ; the exact model takes fledge's token {right} times of {len(parted)}; noise "
          f"{ours:.4f} nats in fledge, {theirs:.4f} in llama.cpp, over {len(fledge_noise)} places", flush=True)
    return ties == len(parted) and ours <= 1.42 * theirs


def compare_perplexity(arguments, model):
    ours = run_fledge(arguments, "eval", model, "--perplexity", arguments.text, "--chunk", "512")["perplexity"]
    theirs = subprocess.run([arguments.llama / "llama-perplexity", "-m", model, "-f", arguments.text, "-c", "512", "-t",
                             str(arguments.threads)], capture_output=True, text=True)
    found = re.search(r"Final estimate: PPL = ([0-9.]+)", theirs.stdout + theirs.stderr)
    if not found:
        raise SystemExit(theirs.stderr[-2000:])
    theirs = float(found.group(1))
    print(f"{model.name}: perplexity {ours:.4f} in fledge, {theirs:.4f} in llama.cpp, {100 * (ours / theirs - 1):+.3f} %",
          flush=True)
    return abs(ours / theirs - 1) <= 0.005


def compare_tokenizer(arguments, server, model):
    """Several hundred texts, where the names of special tokens count as such and where they do not."""
    pool, bad = [text for text in texts(["<|im_start|>", "<|endoftext|>"]) if "\0" not in text], 0
    fledge = FledgeServer(arguments.fledge, model)
    try:
        for text in pool:
            for special in (True, False):
                ours, theirs = fledge.tokenize(text, special), server.tokenize_whole(text, special)
                bad += ours != theirs
                if ours != theirs:
                    print(f"  {text[:100]!r}, {special=}: {ours[:40]} in fledge, {theirs[:40]} in llama.cpp")
    finally:
        fledge.close()
    print(f"{model.name}: {len(pool)} texts in two ways, {bad} tokenized otherwise", flush=True)
    return bad == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fledge", type=Path)
    parser.add_argument("llama", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--text", type=Path, help="compare the perplexity of this text too")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="auto", help="of fledge's activations: f32, bf16 or auto")
    parser.add_argument("--skip-greedy", action="store_true", help="the perplexity alone")
    parser.add_argument("--tokenizer", action="store_true", help="compare the tokens of several hundred texts too")
    arguments = parser.parse_args()
    good = True
    for model in arguments.models:
        if not arguments.skip_greedy:
            server = LlamaServer(arguments.llama, model, arguments.threads)
            try:
                if arguments.tokenizer:
                    good &= compare_tokenizer(arguments, server, model)
                good &= compare_greedy(arguments, server, model)
            finally:
                server.close()
        if arguments.text:
            good &= compare_perplexity(arguments, model)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
