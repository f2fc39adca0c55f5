"""What the scripts share that compare decoders with transformers: batches, losses and gradients, folders that fledge wrote,
and the command line."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

from comparison import LOGITS_BOUND, Report, fledge_tensors, relative_error, run

IGNORE = -100  # a target that takes no part in the loss


def draw_batch(generator, rows, length, vocabulary, ignored):
    """Ids and targets [rows, length]; `ignored` of the targets, at random places, carry IGNORE."""
    ids = torch.randint(vocabulary, (rows, length), generator=generator)
    targets = torch.randint(vocabulary, (rows, length), generator=generator)
    places = torch.randperm(rows * length, generator=generator)[:ignored]
    targets.view(-1)[places] = IGNORE
    return ids, targets


def loss_and_logits(model, ids, targets):
    """Mean cross-entropy over the targets that count, and logits [B, T, V]. targets[b, t] is the label at t itself:
    nothing is shifted."""
    logits = model(input_ids=ids).logits
    loss = F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1), ignore_index=IGNORE)
    return loss, logits


def gradients(model, ids, targets):
    """Loss, logits and the gradient of every parameter under its name (the tied head counts into wte)."""
    model.zero_grad(set_to_none=True)
    loss, logits = loss_and_logits(model, ids, targets)
    loss.backward()
    return loss.detach(), logits.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


def fledge_logits(binary, folder, ids, out):
    return fledge_tensors(binary, folder, ids, out)["logits"]


TEXT = "It is a truth universally acknowledged, that a native program may write a folder that others can open.\n"
RECIPE = """
precision = "f32"
steps = 3
[model]
{model}
[data]
text = ["{scratch}/text.txt"]
tokenizer = "{scratch}/tokenizer"
val_fraction = 0.2
[batch]
sequences = 2
sequence_length = 16
[run]
out = "{scratch}/run"
"""


def train_folder(binary, scratch, model):
    """Trains a tiny model with fledge, described by the recipe keys `model`; returns the folder that it wrote last."""
    (scratch / "text.txt").write_text(TEXT * 40, encoding="utf-8")
    (scratch / "recipe.toml").write_text(RECIPE.format(scratch=scratch, model=model), encoding="utf-8")
    run(binary, "tokenizer", "train", "--kind", "bpe", "--vocab-size", 300, "--input", scratch / "text.txt",
        "--out", scratch / "tokenizer")
    run(binary, "train", scratch / "recipe.toml")
    found = sorted(scratch.glob("run/**/model.safetensors"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise SystemExit("fledge train left no model.safetensors below its run folder")
    return found[-1].parent


def compare_written(report, binary, folder, scratch):
    """transformers opens a folder that fledge wrote, tokenizer included, and both compute the same logits."""
    print(f"a folder written by fledge: {folder}")
    model = AutoModelForCausalLM.from_pretrained(folder).double().eval()
    generator = torch.Generator().manual_seed(9)
    ids = torch.randint(model.config.vocab_size, (2, min(13, model.config.max_position_embeddings)), generator=generator)
    with torch.no_grad():
        expected = model(input_ids=ids).logits
    report.line("logits", relative_error(fledge_logits(binary, folder, ids, scratch / "out"), expected), LOGITS_BOUND)
    if (folder / "tokenizer.json").exists():
        from transformers import AutoTokenizer

        text = "It is a truth, émigré: 12345 days\n\n  and more"
        expected_ids = AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
        got = json.loads(run(binary, "tokenizer", "encode", folder, "--text", text, "--json"))
        got = got["ids"] if isinstance(got, dict) else got
        report.line("tokens that differ", sum(a != b for a, b in zip(got, expected_ids)) +
                    abs(len(got) - len(expected_ids)), 0)
    # Back again: what transformers saves from it must read as the same model.
    model.float().save_pretrained(scratch / "back")
    report.line("logits of transformers' copy",
                relative_error(fledge_logits(binary, scratch / "back", ids, scratch / "out"), expected), LOGITS_BOUND)


def compare_converted(report, binary, folder, ids, expected, scratch):
    """The model as a GGUF file that fledge writes, and as the folder that it makes of that file: read by fledge, and by
    transformers."""
    file, copy = scratch / "converted.gguf", scratch / "converted"
    run(binary, "export", folder, "--to", "gguf", "--out", file)
    report.line("logits of the GGUF file", relative_error(fledge_logits(binary, file, ids, scratch / "out"), expected),
                LOGITS_BOUND)
    run(binary, "import", file, "--out", copy)
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(copy).double().eval()(input_ids=ids).logits
    report.line("logits of the folder made of it, in transformers", relative_error(logits, expected), LOGITS_BOUND)


def run_all(description, cases, compare_case, model):
    """The command line of a comparison: every case, then a folder that fledge wrote. Exits with 1 where a bound is passed."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fledge", type=Path, help="the fledge binary")
    parser.add_argument("--case", choices=[*cases, "written"], action="append", help="default: all")
    parser.add_argument("--written", type=Path, help="a folder written by fledge, instead of training a tiny one")
    arguments = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        for name in arguments.case or [*cases, "written"]:
            if name == "written":
                folder = arguments.written or train_folder(arguments.fledge, scratch, model)
                compare_written(report, arguments.fledge, folder, scratch)
            else:
                compare_case(report, arguments.fledge, name, scratch)
    print("FAILED" if report.failed else "all within their bounds")
    sys.exit(1 if report.failed else 0)
