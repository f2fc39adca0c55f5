"""Writes tests/reference/data/tokenizer/: small tokenizers trained by Hugging Face's `tokenizers`, and what they do.

    python3 -m pip install tokenizers
    python3 tests/reference/make_tokenizer_data.py

corpus.txt is the text that they are trained on. For each split pattern NAME, NAME/tokenizer.json is the tokenizer and
cases.json holds texts and the ids that `tokenizers` gives them, with the special tokens around them.
"""
import json
import pathlib
import random
import sys
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from tokenizer_texts import CASES, CORPUS  # noqa: E402

FOLDER = pathlib.Path(__file__).resolve().parent / "data" / "tokenizer"
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + REST
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + REST
# A pattern that has no scanner of its own, in the manner of DeepSeek.
OTHER = [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
         r"[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]


def train(name, pre_tokenizer, normalizer=None, vocabulary=700):
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, min_frequency=2, show_progress=False,
                                  special_tokens=["<|endoftext|>", "<|end|>"],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([CORPUS], trainer)
    tokenizer.add_tokens([AddedToken("lamplight", normalized=True), AddedToken("<é>", normalized=True)])
    tokenizer.add_special_tokens([AddedToken("<mask>", single_word=True, normalized=False, special=True),
                                  AddedToken("<strip>", lstrip=True, rstrip=True, normalized=False, special=True)])
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|endoftext|> $A <|end|>",
                                      special_tokens=[("<|endoftext|>", 0), ("<|end|>", 1)])])
    (FOLDER / name).mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(FOLDER / name / "tokenizer.json"), pretty=False)
    return [tokenizer.encode(text).ids for text in CASES]


def split(*patterns):
    steps = [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in patterns]
    return pre_tokenizers.Sequence(steps + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "corpus.txt").write_text(CORPUS, encoding="utf-8")
    results = {
        "gpt2": train("gpt2", pre_tokenizers.ByteLevel(add_prefix_space=False)),
        "llama3": train("llama3", split(LLAMA3)),
        "qwen2": train("qwen2", split(QWEN2), normalizers.NFC()),
        "other": train("other", split(*OTHER), vocabulary=500),
        "prefix": train("prefix", pre_tokenizers.ByteLevel(add_prefix_space=True), vocabulary=500),
    }
    # Random strings of characters that decompose or combine, from the Unicode database of this Python.
    draw = random.Random(1)
    marked = [chr(c) for c in range(0x110000) if unicodedata.combining(chr(c)) or unicodedata.decomposition(chr(c))[:1] not in ("", "<")]
    pool = [lambda: draw.choice(marked), lambda: chr(draw.choice([0x41, 0x65, 0x6F, 0x75, 0x1100, 0x1112, 0xAC00, 0xD788])),
            lambda: chr(0x300 + draw.randrange(0x30)), lambda: chr(0x1161 + draw.randrange(90)), lambda: chr(draw.randrange(0xC0, 0x250))]
    strings = ["".join(draw.choice(pool)() for _ in range(24)) for _ in range(60)]
    results["nfc"] = [[text, unicodedata.normalize("NFC", text)] for text in strings]
    text = json.dumps({"texts": CASES, "results": results}, ensure_ascii=True, separators=(",", ":"))
    (FOLDER / "cases.json").write_text(text + "\n")


main()
