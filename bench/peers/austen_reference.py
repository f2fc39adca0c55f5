#!/usr/bin/env python3
"""Trains the model of a fledge run in PyTorch: the same tokens in the same order, the same schedule, optimizer and
batches, and reports the validation loss over the whole validation data.

    fledge train recipes/gpt2-austen.toml
    bench/peers/.venv/bin/python bench/peers/austen_reference.py runs/austen/model/recipe.toml

The recipe is the resolved one that the run's folder holds, because it says the number of steps. The weights at the
start and dropout are drawn by PyTorch: --seed gives another draw, whose spread says what a difference is worth."""

import argparse
import json
import math
import time
import tomllib
from pathlib import Path

import numpy as np
import torch

import gpt2

IGNORED = -100
ORDER_STREAM, SHIFT_STREAM = 0x646174610000, 0x736869667400  # src/train/data/loader.cpp
MASK32, MASK64 = (1 << 32) - 1, (1 << 64) - 1


class Philox:
    """Philox4x32-10 (Salmon et al., 2011) with the key as src/base/random.h makes it."""

    def __init__(self, seed, stream):
        self.key = ((seed & MASK32) ^ ((stream >> 32) * 0x85EBCA6B & MASK32), (seed >> 32) ^ (stream & MASK32))

    def block(self, position, high=0):
        c = [position & MASK32, position >> 32, high & MASK32, high >> 32]
        k0, k1 = self.key
        for _ in range(10):
            p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [(p1 >> 32) ^ c[1] ^ k0, p1 & MASK32, (p0 >> 32) ^ c[3] ^ k1, p0 & MASK32]
            k0, k1 = (k0 + 0x9E3779B9) & MASK32, (k1 + 0xBB67AE85) & MASK32
        return c

    def below(self, bound, position):
        words = self.block(position)
        return (((words[0] << 32) | words[1]) * bound) >> 64


def permuted(index, size, seed, epoch):
    """src/train/data/permutation.h: a Feistel network of six rounds with cycle walking."""
    random = Philox(seed, ORDER_STREAM)
    half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half_bits) - 1
    while True:
        left, right = index >> half_bits, index & mask
        for step in range(6):
            left, right = right, left ^ (random.block(right, (epoch * 6 + step) & MASK64)[0] & mask)
        index = (left << half_bits) | right
        if index < size:
            return index


def read_columns(path):
    """The flat columns of a shard; its layout stands at the head of src/train/data/shard.h."""
    data = path.read_bytes()
    if data[:8] != b"FLEDGESH" or int.from_bytes(data[8:12], "little") != 1:
        raise SystemExit(f"{path}: not a shard of version 1")
    columns = {}
    for number in range(int.from_bytes(data[12:16], "little")):
        entry = data[32 + 80 * number : 112 + 80 * number]
        name, dtype = (entry[a:b].rstrip(b"\0").decode() for a, b in ((0, 32), (32, 40)))
        count, offset = (int.from_bytes(entry[a : a + 8], "little") for a in (40, 48))
        numpy_type = {"u16": np.uint16, "i32": np.int32, "i64": np.int64}[dtype]
        columns[name] = np.frombuffer(data, numpy_type, count, offset)
    return columns


class Split:
    """One split as one row of tokens, and where its documents begin."""

    def __init__(self, folder, index, name):
        ids, starts, seen = [], [], 0
        for entry in index["splits"][name]["shards"]:
            columns = read_columns(folder / entry["file"])
            ids.append(columns["ids"].astype(np.int64))
            starts.append(columns["document_starts"] + seen)
            seen += len(columns["ids"])
        self.ids, self.starts = np.concatenate(ids), np.concatenate(starts)

    def window(self, first, length, separate):
        """Ids, targets and the place where each token's document begins, all [length]."""
        own = self.ids[first : first + length + 1]
        ids, targets = np.zeros(length, np.int64), np.full(length, IGNORED)
        ids[: len(own)] = own[:length]
        targets[: len(own) - 1] = own[1:]
        begins = np.zeros(length, np.int64)
        if separate:
            inside = self.starts[(self.starts > first) & (self.starts <= first + length)] - first
            for place in inside:
                targets[place - 1] = IGNORED
                begins[place:] = place
        return ids, targets, begins


def make_batch(windows):
    """Tensors ids, targets, positions [B, T], and a mask [B, 1, T, T] where a row holds more than one document."""
    ids, targets, begins = (torch.from_numpy(np.stack(part)) for part in zip(*windows))
    place = torch.arange(ids.shape[1])
    if not begins.any():
        return ids, targets, place, None
    mask = (begins[:, :, None] == begins[:, None, :]) & (place[:, None] >= place[None, :])
    return ids, targets, place - begins, mask[:, None]


class Batches:
    def __init__(self, recipe, folder):
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        if index.get("format") != "fledge-data" or index.get("version") != 1:
            raise SystemExit(f"{folder}: not a data set of version 1")
        self.vocabulary = index["tokenizer"]["vocabulary_size"]
        self.training = Split(folder, index, "train")
        self.validation = Split(folder, index, "validation")
        self.length, self.rows = recipe["batch"]["sequence_length"], recipe["batch"]["sequences"]
        self.separate, self.seed = recipe["data"]["separate_documents"], recipe["run"]["seed"]
        self.windows, self.slack = divmod(len(self.training.ids) - 1, self.length)

    def start(self, sample):
        epoch, index = divmod(sample, self.windows)
        shift = Philox(self.seed, SHIFT_STREAM).below(self.slack + 1, epoch)
        return shift + permuted(index, self.windows, self.seed, epoch) * self.length

    def train(self, step):
        samples = range(step * self.rows, (step + 1) * self.rows)
        return make_batch([self.training.window(self.start(s), self.length, self.separate) for s in samples])

    def validate(self):
        starts = range(0, len(self.validation.ids) - 1, self.length)
        for first in range(0, len(starts), self.rows):
            yield make_batch([self.validation.window(start, self.length, self.separate)
                              for start in starts[first : first + self.rows]])


def learning_rate(recipe, step):
    """src/train/schedule.h, cosine."""
    schedule, steps = recipe["schedule"], recipe["steps"]
    if schedule["kind"] != "cosine":
        raise SystemExit(f"schedule.kind = {schedule['kind']}: this peer knows cosine alone")
    # fledge rounds halves away from zero.
    warmup = schedule["warmup_steps"] or math.floor(schedule["warmup_ratio"] * steps + 0.5)
    highest, least = recipe["optimizer"]["learning_rate"], schedule["min_ratio"]
    if step < warmup:
        return highest * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / (schedule["decay_steps"] or steps - warmup))
    return highest * (least + (1 - least) * 0.5 * (1 + math.cos(math.pi * progress)))


@torch.no_grad()
def validation_loss(model, forward, batches, autocast):
    model.eval()
    total, count = 0.0, 0
    for ids, targets, positions, mask in batches.validate():
        targets_here = int((targets != IGNORED).sum())
        if targets_here == 0:
            continue
        with autocast():
            total += forward(ids, targets, positions, mask).item() * targets_here
        count += targets_here
    model.train()
    return total / count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="RUN/recipe.toml")
    parser.add_argument("--data", type=Path, help="default: data.path of the recipe")
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--seed", type=int, default=1, help="of the weights and of dropout")
    parser.add_argument("--evaluate-every", type=int, default=0, metavar="STEPS")
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    parser.add_argument("--print-starts", type=int, metavar="N", help="print where the first N samples begin, and stop")
    arguments = parser.parse_args()

    recipe = tomllib.loads(arguments.recipe.read_text(encoding="utf-8"))
    batches = Batches(recipe, arguments.data or Path(recipe["data"]["path"]))
    if arguments.print_starts:
        print(*(batches.start(sample) for sample in range(arguments.print_starts)))
        return
    if not recipe["steps"]:
        raise SystemExit(f"{arguments.recipe}: steps is 0; give the resolved recipe of a run")
    settings, adam = recipe["model"], recipe["optimizer"]
    torch.manual_seed(arguments.seed)
    model = gpt2.GPT2(settings | {"vocab_size": settings["vocab_size"] or batches.vocabulary}).train()
    optimizer = gpt2.adamw(model, adam["learning_rate"], (adam["beta1"], adam["beta2"]), adam["epsilon"],
                           adam["weight_decay"])
    forward = model if arguments.eager else torch.compile(model)
    autocast = lambda: torch.autocast("cpu", dtype=torch.bfloat16, enabled=arguments.dtype == "bf16")

    start = time.time()
    for step in range(recipe["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step)
        ids, targets, positions, mask = batches.train(step)
        with autocast():
            loss = forward(ids, targets, positions, mask)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if adam["clip_norm"] > 0:
            torch.nn.utils.clip_grad_norm_(model.parameters(), adam["clip_norm"])
        optimizer.step()
        last = step + 1 == recipe["steps"]
        evaluated = last or (arguments.evaluate_every and (step + 1) % arguments.evaluate_every == 0)
        if evaluated or (step + 1) % 10 == 0:
            record = {"step": step + 1, "loss": loss.item(), "seconds": round(time.time() - start, 1)}
            if evaluated:
                record["validation_loss"] = validation_loss(model, forward, batches, autocast)
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
