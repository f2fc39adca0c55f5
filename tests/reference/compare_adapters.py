#!/usr/bin/env python3
"""Compares adapters with PEFT: adapters that fledge trained are opened by PEFT and give the same logits, merged models are
opened by transformers and do so too, and adapters that PEFT saved give PEFT's logits in fledge. Exit code 1 where a bound
is passed. The reference runs in f64, so that the error shown is fledge's own."""

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, BertForPreTraining

from causal import TEXT
from comparison import LOGITS_BOUND, Report, fledge_tensors, relative_error, run
from make_adapter_data import ADAPTERS, base_model, logits_of

DATA = Path(__file__).parent / "data"
RECIPE = """
precision = "f32"
steps = 4
[model]
path = "{base}"
[adapter]
kind = "{kind}"
rank = 3
alpha = 5
{targets}
[data]
text = ["{scratch}/text.txt"]
tokenizer = "{scratch}/tokenizer"
val_fraction = 0.2
[optimizer]
learning_rate = 3e-2
[batch]
sequences = 2
sequence_length = 16
[run]
out = "{out}"
"""
BASES = {
    "llama": 'family = "llama"\nn_layer = 2\nn_head = 4\nn_kv_head = 2\nn_embd = 32\nn_inner = 48\nn_positions = 40\n'
             "tie_embeddings = false",
    "gpt2": 'family = "gpt2"\nn_layer = 2\nn_head = 2\nn_embd = 24\nn_positions = 40',
}
TRAINED = [("llama", "lora", ""), ("llama", "rslora", 'targets = ["q_proj", "v_proj", "embed_tokens", "lm_head"]'),
           ("llama", "dora", ""), ("gpt2", "lora", 'targets = ["c_attn", "mlp.c_proj", "wpe"]'), ("gpt2", "dora", "")]


def make_base(binary, scratch, name):
    """A tiny model that fledge trained, to adapt."""
    (scratch / f"{name}.toml").write_text(
        f'precision = "f32"\nsteps = 2\n[model]\n{BASES[name]}\n[data]\ntext = ["{scratch}/text.txt"]\n'
        f'tokenizer = "{scratch}/tokenizer"\nval_fraction = 0.2\n[batch]\nsequences = 2\nsequence_length = 16\n'
        f'[run]\nout = "{scratch}/{name}"\n', encoding="utf-8")
    run(binary, "train", scratch / f"{name}.toml")
    return next(scratch.glob(f"{name}/**/model.safetensors")).parent


def compare_trained(report, binary, scratch, base_name, base, kind, targets):
    print(f"{base_name}, {kind} trained by fledge {targets}")
    out = scratch / f"{base_name}-{kind}"
    recipe = scratch / "adapter.toml"
    recipe.write_text(RECIPE.format(base=base, kind=kind, targets=targets, scratch=scratch, out=out), encoding="utf-8")
    run(binary, "train", recipe)
    folder = next(out.glob("checkpoints/*/adapter_model.safetensors")).parent
    ids = torch.randint(300, (2, 13), generator=torch.Generator().manual_seed(9))
    plain = AutoModelForCausalLM.from_pretrained(base).double().eval()
    before = logits_of(plain, ids).detach()
    model = PeftModel.from_pretrained(plain, folder).double().eval()
    expected = logits_of(model, ids).detach()
    if relative_error(expected, before) < 1e-3:
        raise SystemExit("the adapter changes next to nothing: there is nothing to compare")
    got = fledge_tensors(binary, base, ids, scratch / "out", "--adapter", folder)["logits"]
    report.line("logits of PEFT with fledge's adapter", relative_error(got, expected), LOGITS_BOUND)
    run(binary, "merge", base, folder, "--out", scratch / "merged")
    merged = AutoModelForCausalLM.from_pretrained(scratch / "merged").double().eval()
    report.line("logits of transformers with the merged model", relative_error(logits_of(merged, ids).detach(), expected),
                LOGITS_BOUND)


def compare_saved(report, binary, scratch, name, base):
    print(f"{name}, saved by PEFT")
    ids = torch.randint(30, (2, 13), generator=torch.Generator().manual_seed(9))
    model = PeftModel.from_pretrained(base_model(DATA, base), DATA / "adapters" / name).double().eval()
    expected = logits_of(model, ids).detach()
    got = fledge_tensors(binary, DATA / base, ids, scratch / "out", "--adapter", DATA / "adapters" / name)["logits"]
    report.line("logits of fledge with PEFT's adapter", relative_error(got, expected), LOGITS_BOUND)
    run(binary, "merge", DATA / base, DATA / "adapters" / name, "--out", scratch / "merged")
    kind = BertForPreTraining if base.startswith("bert") else AutoModelForCausalLM
    merged = kind.from_pretrained(scratch / "merged", attn_implementation="eager").double().eval()
    report.line("logits of transformers with the merged model", relative_error(logits_of(merged, ids).detach(), expected),
                LOGITS_BOUND)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fledge", type=Path, help="the fledge binary")
    binary = parser.parse_args().fledge
    warnings.filterwarnings("ignore")
    report = Report()
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        (scratch / "text.txt").write_text(TEXT * 40, encoding="utf-8")
        run(binary, "tokenizer", "train", "--kind", "bpe", "--vocab-size", 300, "--input", scratch / "text.txt", "--out",
            scratch / "tokenizer")
        bases = {name: make_base(binary, scratch, name) for name in BASES}
        for base, kind, targets in TRAINED:
            compare_trained(report, binary, scratch, base, bases[base], kind, targets)
        for name, (base, _) in ADAPTERS.items():
            compare_saved(report, binary, scratch, name, base)
    print("FAILED" if report.failed else "all within their bounds")
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
