"""Trains WordPiece and Unigram with fledge and with Hugging Face's `tokenizers` on the same text and compares what they
learn: the vocabularies, and into how many tokens held-out text is cut.

    python3 tests/reference/compare_tokenizer_training.py build/release/fledge TRAIN.txt HELD_OUT.txt [--size 8192]

Fails where fledge needs more tokens than `tokenizers` (0.1 % of room for ties), or where `tokenizers` reads fledge's
files otherwise than fledge does.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile
import time

from tokenizers import Tokenizer, models, trainers

BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
UNIGRAM = ["<unk>", "<s>", "</s>", "<pad>", "<mask>"]


def fledge_tokenizer(binary, kind, size, text, folder):
    begin = time.perf_counter()
    subprocess.run([binary, "tokenizer", "train", "--kind", kind, "--vocab-size", str(size), "--input", text, "--out", folder, "--quiet"],
                   check=True, stdout=subprocess.DEVNULL)
    return Tokenizer.from_file(str(pathlib.Path(folder) / "tokenizer.json")), time.perf_counter() - begin


def peer_tokenizer(kind, size, text, like):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]") if kind == "wordpiece" else models.Unigram())
    tokenizer.normalizer, tokenizer.pre_tokenizer = like.normalizer, like.pre_tokenizer
    options = {"vocab_size": size, "show_progress": False}
    if kind == "wordpiece":
        trainer = trainers.WordPieceTrainer(min_frequency=2, limit_alphabet=1000, special_tokens=BERT, **options)
    else:
        trainer = trainers.UnigramTrainer(unk_token="<unk>", special_tokens=UNIGRAM, **options)
    begin = time.perf_counter()
    tokenizer.train([text], trainer)
    return tokenizer, time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("train")
    parser.add_argument("held_out")
    parser.add_argument("--size", type=int, default=8192)
    arguments = parser.parse_args()
    text = pathlib.Path(arguments.held_out).read_text(errors="replace")
    lines = text.split("\n")
    for kind in ("wordpiece", "unigram"):
        with tempfile.TemporaryDirectory() as folder:
            ours, our_seconds = fledge_tokenizer(arguments.binary, kind, arguments.size, arguments.train, folder)
            encoded = subprocess.run([arguments.binary, "tokenizer", "encode", folder, "--file", arguments.held_out, "--add-special", "--json"],
                                     check=True, capture_output=True, text=True)
            assert json.loads(encoded.stdout)["ids"] == ours.encode(text).ids, f"{kind}: tokenizers reads the file otherwise"
        theirs, their_seconds = peer_tokenizer(kind, arguments.size, arguments.train, ours)
        counts = [sum(len(tokenizer.encode(line, add_special_tokens=False).ids) for line in lines) for tokenizer in (ours, theirs)]
        common = len(set(ours.get_vocab()) & set(theirs.get_vocab()))
        print(f"{kind}: fledge {counts[0]} tokens in {our_seconds:.1f} s, tokenizers {counts[1]} in {their_seconds:.1f} s; "
              f"{common} of {arguments.size} tokens are the same")
        assert counts[0] <= 1.001 * counts[1], f"{kind}: fledge cuts the text into more tokens"


main()
