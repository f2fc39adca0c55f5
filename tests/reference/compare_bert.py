#!/usr/bin/env python3
"""Compares a fledge binary with transformers: BERT's logits, hidden states, pooled vectors, labels of texts and of tokens,
loss and every gradient, at odd sizes with padding and segments; old names of tensors; and folders written by either side and read by the other.
Exit code 1 where a bound is passed.

The reference runs in f64, so that the error shown is fledge's own. A tensor's error is norm(got - expected) /
norm(expected). The key's bias has no gradient in exact arithmetic (it moves all scores of a query alike): what is found
there is held to an absolute floor, see AttentionTerms."""

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import bert_reference as reference
from comparison import GRADIENT_BOUND, LOGITS_BOUND, UNIT, Report, as_argument, fledge_tensors, relative_error, run

CASES = {
    # name: architecture, settings of the model, rows, tokens, ignored targets, scale of the weights
    "masked": ("BertForMaskedLM", dict(num_hidden_layers=2, hidden_size=60, num_attention_heads=5, intermediate_size=85,
                                       vocab_size=131, max_position_embeddings=41), 3, 37, 11, 10.0),
    "tanh gelu": ("BertForMaskedLM", dict(num_hidden_layers=3, hidden_size=42, num_attention_heads=3, vocab_size=97,
                                          intermediate_size=150, max_position_embeddings=64, hidden_act="gelu_new",
                                          type_vocab_size=3, layer_norm_eps=1e-6), 2, 64, 0, 10.0),
    "pretraining": ("BertForPreTraining", dict(num_hidden_layers=2, hidden_size=32, num_attention_heads=4,
                                               intermediate_size=65, vocab_size=73, max_position_embeddings=19),
                    2, 17, 3, 10.0),
    "encoder": ("BertModel", dict(num_hidden_layers=2, hidden_size=36, num_attention_heads=3, intermediate_size=75,
                                  vocab_size=91, max_position_embeddings=33), 4, 29, 0, 10.0),
    "labels": ("BertForSequenceClassification", dict(num_hidden_layers=2, hidden_size=36, num_attention_heads=3,
                                                     intermediate_size=75, vocab_size=91, max_position_embeddings=33,
                                                     num_labels=5), 4, 29, 0, 10.0),
    "score": ("BertForSequenceClassification", dict(num_hidden_layers=1, hidden_size=28, num_attention_heads=2,
                                                    intermediate_size=51, vocab_size=83, max_position_embeddings=21,
                                                    num_labels=1), 5, 20, 0, 10.0),
    "words": ("BertForTokenClassification", dict(num_hidden_layers=2, hidden_size=40, num_attention_heads=4,
                                                 intermediate_size=63, vocab_size=79, max_position_embeddings=31,
                                                 num_labels=7), 3, 31, 0, 10.0),
    "base": ("BertForMaskedLM", dict(), 2, 67, 9, 1.0),
}


class AttentionTerms:
    """Watches one block's attention, to sum up the sizes of the terms that make the gradient of the key's bias: sums
    over queries i and keys j of scale * P_ij (dP_ij - sum_k P_ik dP_ik) q_i, with dP = dO V^T. The whole is zero, as the
    bracket weighted by P sums to zero. Every term carries a few roundings relative to the sizes of what was added and
    subtracted; the floor is 8 roundings of the sum of those sizes."""

    def __init__(self, block, mask):
        attention = block.attention.self
        self.heads, self.hidden, self.parts = attention.num_attention_heads, (mask == 0)[:, None, None, :], {}
        for part in ("query", "key", "value"):
            getattr(attention, part).register_forward_hook(
                lambda module, inputs, output, part=part: self.parts.__setitem__(part, output.detach()))
        block.attention.output.dense.register_full_backward_hook(
            lambda module, inputs, outputs: setattr(self, "gradient", inputs[0].detach()))

    def floors(self):
        def split(x):
            return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

        query, key, value = (split(self.parts[part]) for part in ("query", "key", "value"))
        scale = query.shape[-1] ** -0.5
        scores = query @ key.transpose(-1, -2) * scale
        pattern = torch.softmax(scores.masked_fill(self.hidden, float("-inf")), -1)
        size = split(self.gradient).abs() @ value.abs().transpose(-1, -2)
        terms = pattern * (size + (pattern * size).sum(-1, keepdim=True)) * scale
        sums = {"query": torch.einsum("bhij,bhjd->hd", terms, key.abs()),
                "key": torch.einsum("bhij,bhid->hd", terms, query.abs())}
        return {part: 8 * UNIT * total.norm().item() for part, total in sums.items()}


def compare_gradients(report, got, expected, floors):
    got.pop("loss")
    if got.keys() != expected.keys():
        raise SystemExit(f"gradients differ in name: {sorted(got.keys() ^ expected.keys())}")
    worst = ("", 0.0)
    for name, tensor in expected.items():
        floor = floors.get(name, 0.0)
        if tensor.norm() <= floor:
            report.line(f"{name}, absolute", (got[name].double() - tensor).norm().item(), floor)
            continue
        error = relative_error(got[name], tensor)
        if not error <= GRADIENT_BOUND:
            report.line(name, error, GRADIENT_BOUND)
        worst = max(worst, (name, error), key=lambda entry: entry[1])
    report.line(f"worst gradient: {worst[0]}", worst[1], GRADIENT_BOUND)


def valid(tensor, lengths):
    """The places that are no padding."""
    return tensor[reference.mask_of(lengths, tensor.shape[1]).bool()]


def compare_outputs(report, binary, folder, model, batch, scratch):
    """Everything that a model returns, where there is no padding."""
    ids, segments, lengths, _ = batch
    got = fledge_tensors(binary, folder, ids, scratch / "out", "--token-types", as_argument(segments), "--lengths",
                         ",".join(str(int(length)) for length in lengths))
    with torch.no_grad():
        result = reference.outputs(model.double(), ids, segments, lengths)
    names = {"logits": "logits", "prediction_logits": "logits", "last_hidden_state": "hidden",
             "pooler_output": "pooled", "seq_relationship_logits": "next_sentence"}
    expected = {names[name]: tensor for name, tensor in result.items()}
    if expected.keys() - got.keys():
        raise SystemExit(f"fledge did not write {sorted(expected.keys() - got.keys())}")
    for name, tensor in expected.items():
        per_token = name in ("logits", "hidden") and tensor.dim() == 3
        a, b = (valid(got[name], lengths), valid(tensor, lengths)) if per_token else (got[name], tensor)
        report.line(name, relative_error(a, b), LOGITS_BOUND)


def write_old_names(folder, out):
    """The same model as early checkpoints hold it: gamma and beta, position ids; and without the prefix."""
    out.mkdir()
    (out / "config.json").write_text((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    renamed = {}
    for name, tensor in tensors.items():
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        renamed[name.removeprefix("bert.")] = tensor.clone()
    renamed["embeddings.position_ids"] = torch.arange(9)[None]
    save_file(renamed, out / "model.safetensors", metadata={"format": "pt"})


def compare_converted(report, binary, folder, model, batch, scratch):
    """The encoder as a GGUF file that fledge writes, and as the folder that it makes of that file."""
    ids, segments, lengths, _ = batch
    file, copy = scratch / "converted.gguf", scratch / "converted"
    run(binary, "export", folder, "--to", "gguf", "--out", file)
    run(binary, "import", file, "--out", copy)
    inputs = dict(input_ids=ids, token_type_ids=segments, attention_mask=reference.mask_of(lengths, ids.shape[1]))
    with torch.no_grad():
        expected = valid(getattr(model, "bert", model).double()(**inputs).last_hidden_state, lengths)
        again = valid(reference.BertModel.from_pretrained(copy, attn_implementation="eager").double()
                      .eval()(**inputs).last_hidden_state, lengths)
    got = fledge_tensors(binary, file, ids, scratch / "out", "--token-types", as_argument(segments), "--lengths",
                         ",".join(str(int(length)) for length in lengths))["hidden"]
    report.line("hidden states of the GGUF file", relative_error(valid(got, lengths), expected), LOGITS_BOUND)
    report.line("of the folder made of it, in transformers", relative_error(again, expected), LOGITS_BOUND)


def compare_case(report, binary, name, scratch):
    architecture, settings, rows, length, ignored, scale = CASES[name]
    print(f"{name}: {architecture} {settings}, ids [{rows}, {length}]")
    model = reference.build_model(architecture, 7, scale=scale, **settings)
    folder = scratch / name.replace(" ", "_")
    model.save_pretrained(folder)
    batch = reference.draw_batch(torch.Generator().manual_seed(8), model.config, rows, length, ignored)
    compare_outputs(report, binary, folder, model, batch, scratch)
    compare_converted(report, binary, folder, model, batch, scratch)
    if architecture != "BertModel":
        ids, segments, lengths, targets = batch
        mask = reference.mask_of(lengths, length)
        terms = {f"bert.encoder.layer.{i}.attention.self.{{}}.bias": AttentionTerms(block, mask)
                 for i, block in enumerate(model.bert.encoder.layer)}
        generator = torch.Generator().manual_seed(9)
        if architecture in ("BertForMaskedLM", "BertForPreTraining"):
            loss, _, expected = reference.gradients(model.double(), *batch)
            learned = ("--targets", as_argument(targets))
        else:
            labels = reference.draw_labels(generator, model.config, architecture, lengths, length)
            loss, expected = reference.label_gradients(model.double(), ids, segments, lengths, labels)
            learned = ("--labels", ",".join(str(value) for value in labels.tolist())) if labels.dim() == 1 else \
                ("--targets", as_argument(labels))
        run(binary, "grads", folder, "--ids", as_argument(ids), *learned, "--token-types", as_argument(segments),
            "--lengths", ",".join(str(int(n)) for n in lengths), "--out", scratch / "out")
        got = load_file(scratch / "out")
        report.line("loss", abs(got["loss"].double().item() - loss.item()) / loss.item(), LOGITS_BOUND)
        floors = {key.format(part): floor for key, watch in terms.items() for part, floor in watch.floors().items()}
        compare_gradients(report, got, expected, floors)
    if name != "base":
        write_old_names(folder, scratch / f"old_{architecture}_{length}")
        print(f"  the same under old names")
        compare_outputs(report, binary, scratch / f"old_{architecture}_{length}", model, batch, scratch)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fledge", type=Path, help="the fledge binary")
    parser.add_argument("--case", choices=list(CASES), action="append", help="default: all")
    parser.add_argument("--written", type=Path, help="also: a BERT folder written by fledge, opened by transformers")
    arguments = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as scratch:
        for name in arguments.case or CASES:
            compare_case(report, arguments.fledge, name, Path(scratch))
        if arguments.written:
            print(f"a folder written by fledge: {arguments.written}")
            config = reference.BertConfig.from_pretrained(arguments.written)
            model, notes = reference.CLASSES[config.architectures[0]].from_pretrained(
                arguments.written, output_loading_info=True, attn_implementation="eager")
            report.line("tensors that transformers misses", len(notes["missing_keys"]), 0)
            batch = reference.draw_batch(torch.Generator().manual_seed(8), model.config, 2, 9, 0)
            compare_outputs(report, arguments.fledge, arguments.written, model.eval(), batch, Path(scratch))
    print("FAILED" if report.failed else "all within their bounds")
    sys.exit(1 if report.failed else 0)


if __name__ == "__main__":
    main()
