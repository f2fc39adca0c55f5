#!/usr/bin/env python3
"""Compares fledge with llama.cpp on the same GGUF file: greedy continuations and perplexity.

    tests/reference/compare_llamacpp.py build/release/fledge LLAMA_BIN MODEL.gguf... [--text FILE]

LLAMA_BIN is the folder with llama-server and llama-perplexity of a llama.cpp that was built by hand. Twenty prompts are
continued by 64 tokens, always with the likeliest one. Where the two programs part, both are asked for the log-probability
of both tokens at that place: a difference counts as a near-tie where neither program sees the two more than --tie nats
apart. With --text, the perplexity over chunks of 512 tokens may differ by 0.5 %."""

import argparse
import json
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

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

    def continue_ids(self, ids, count, probabilities=0):
        body = {"prompt": ids, "n_predict": count, "temperature": 0, "top_k": 1, "cache_prompt": False,
                "return_tokens": True, "ignore_eos": True, "n_probs": probabilities, "post_sampling_probs": False}
        return post(self.port, "/completion", body)

    def log_probabilities(self, ids):
        top = self.continue_ids(ids, 1, 100)["completion_probabilities"][0]["top_logprobs"]
        return {entry["id"]: entry["logprob"] for entry in top}


def fledge_continue(binary, model, ids, count, alternatives=0):
    output = subprocess.run([binary, "generate", model, "--prompt-ids", ",".join(map(str, ids)), "--max-tokens",
                             str(count), "--temperature", "0", "--ignore-end", "--alternatives", str(alternatives),
                             "--json"], capture_output=True, text=True)
    if output.returncode:
        raise SystemExit(output.stderr)
    return json.loads(output.stdout)


def compare_greedy(arguments, server, model):
    equal, ties, differences = 0, 0, []
    for prompt in PROMPTS:
        ids = server.tokenize(prompt)
        theirs = server.continue_ids(ids, 64)["tokens"]
        ours = [token["id"] for token in fledge_continue(arguments.fledge, model, ids, 64)["tokens"]]
        if ours == theirs:
            equal += 1
            continue
        place = next(i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b)
        before = ids + theirs[:place]
        a, b = ours[place], theirs[place]
        llama = server.log_probabilities(before)
        answer = fledge_continue(arguments.fledge, model, before, 1, 100)["tokens"][0]
        fledge = {entry["id"]: entry["log_probability"] for entry in answer["alternatives"]}
        gaps = [abs(table.get(a, -99.0) - table.get(b, -99.0)) for table in (fledge, llama)]
        if max(gaps) <= arguments.tie:
            ties += 1
        else:
            differences.append((prompt, place, a, b, gaps))
        print(f"  {prompt!r} parts at token {place}: {a} or {b}, {gaps[0]:.4f} nats apart in fledge and {gaps[1]:.4f} "
              "in llama.cpp", file=sys.stderr)
    print(f"{model.name}: {equal} of {len(PROMPTS)} continuations equal, {ties} part at a near-tie, "
          f"{len(differences)} differ")
    return not differences


def compare_perplexity(arguments, model):
    ours = subprocess.run([arguments.fledge, "eval", model, "--perplexity", arguments.text, "--chunk", "512", "--json"],
                          capture_output=True, text=True, check=True)
    ours = json.loads(ours.stdout)["perplexity"]
    theirs = subprocess.run([arguments.llama / "llama-perplexity", "-m", model, "-f", arguments.text, "-c", "512", "-t",
                             str(arguments.threads)], capture_output=True, text=True)
    found = re.search(r"Final estimate: PPL = ([0-9.]+)", theirs.stdout + theirs.stderr)
    if not found:
        raise SystemExit(theirs.stderr[-2000:])
    theirs = float(found.group(1))
    print(f"{model.name}: perplexity {ours:.4f} in fledge, {theirs:.4f} in llama.cpp, {100 * (ours / theirs - 1):+.3f} %")
    return abs(ours / theirs - 1) <= 0.005


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fledge", type=Path)
    parser.add_argument("llama", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--text", type=Path, help="compare the perplexity of this text too")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tie", type=float, default=0.1, help="nats between two tokens that count as equally likely")
    arguments = parser.parse_args()
    good = True
    for model in arguments.models:
        server = LlamaServer(arguments.llama, model, arguments.threads)
        try:
            good &= compare_greedy(arguments, server, model)
        finally:
            server.close()
        if arguments.text:
            good &= compare_perplexity(arguments, model)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
