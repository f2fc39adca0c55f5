"""Compares fledge's tokenizers with Hugging Face's `tokenizers`, `sentencepiece` and `tiktoken`, token by token.

    python3 -m pip install tokenizers sentencepiece tiktoken
    cmake --build --preset release --target bench_tokenizer
    python3 tests/reference/compare_tokenizers.py --bench build/release/bench_tokenizer [FILE...]

Every FILE is a tokenizer.json, a SentencePiece model (*.model, *.model.v1) or an OpenAI rank file (*.tiktoken). Beside
them, tokenizers of every kind are trained on the spot. Several hundred texts, multilingual and adversarial, go through
each; ids with and without the special tokens around a text, and the decoded text, must be equal. Prints a line for each
tokenizer and ends with status 1 where anything differs.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from tokenizer_texts import CORPUS, texts  # noqa: E402


class Fledge:
    """What fledge's tokenizers make of texts; `program` is bench_tokenizer."""

    def __init__(self, program, path):
        self.program, self.path = program, str(path)

    def run(self, items):
        lines = "".join(json.dumps(item) + "\n" for item in items)
        done = subprocess.run([self.program, "texts", self.path], input=lines.encode(), capture_output=True)
        if done.returncode != 0:
            raise SystemExit(f"{self.path}: {done.stderr.decode().strip()}")
        return [json.loads(line) for line in done.stdout.decode().splitlines()]


def differences(name, fledge, items, encode, decode, names_added=()):
    """Compares all texts; returns how many differ and prints the first ones."""
    pool = texts(names_added)
    found = fledge.run([{"text": text} for text in pool])
    bad = 0
    for text, ours in zip(pool, found):
        expected = {"ids": encode(text, False), "special_ids": encode(text, True)}
        expected["plain_ids"] = expected["ids"]
        expected["text"] = decode(expected["ids"])
        expected["special_text"] = decode(expected["special_ids"])
        expected["streamed"] = expected["special_text"]
        for key in expected:
            if key in items and ours[key] != expected[key]:
                bad += 1
                if bad <= 3:
                    print(f"  {name}: {key} of {text[:200]!r}\n    fledge {ours[key]!r:.400}\n    other  {expected[key]!r:.400}")
                break
    print(f"{name}: {len(pool)} texts, {bad} differ", flush=True)
    return bad


ALL = ("ids", "special_ids", "text", "special_text", "streamed")


def against_hugging_face(name, program, file):
    peer = Tokenizer.from_file(str(file))
    peer.no_truncation()
    peer.no_padding()
    added = [token.content for token in peer.get_added_tokens_decoder().values()]
    return differences(name, Fledge(program, file), ALL, lambda text, special: peer.encode(text, add_special_tokens=special).ids,
                      lambda ids: peer.decode(ids, skip_special_tokens=False), added[:6] + added[-6:])


def against_sentence_piece(name, program, file):
    import sentencepiece
    peer = sentencepiece.SentencePieceProcessor(model_file=str(file))

    def decode(ids):
        # An unknown token is written out by its name here, and as a sign of its own there.
        return peer.decode(ids)

    return differences(name, Fledge(program, file), ("plain_ids",), lambda text, special: peer.encode(text), decode)


def train_all(folder):
    """Tokenizers of every kind and with every option that fledge reads, trained here."""
    made = {}

    def keep(name, tokenizer):
        path = folder / f"{name}.json"
        tokenizer.save(str(path))
        made[name] = path

    def trained(model, trainer, normalizer=None, pre_tokenizer=None, decoder=None, post=None):
        tokenizer = Tokenizer(model)
        if normalizer is not None:
            tokenizer.normalizer = normalizer
        if pre_tokenizer is not None:
            tokenizer.pre_tokenizer = pre_tokenizer
        if decoder is not None:
            tokenizer.decoder = decoder
        tokenizer.train_from_iterator(CORPUS.split("\n"), trainer)
        if post is not None:
            tokenizer.post_processor = post(tokenizer)
        return tokenizer

    specials = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]

    def word_piece(vocabulary=600, **options):
        return models.WordPiece(unk_token="[UNK]", **options), trainers.WordPieceTrainer(
            vocab_size=vocabulary, special_tokens=specials, show_progress=False)

    def bert_pair(tokenizer):
        return processors.BertProcessing(("[SEP]", tokenizer.token_to_id("[SEP]")), ("[CLS]", tokenizer.token_to_id("[CLS]")))

    for case in (True, False):
        for accents in (None, True, False):
            tokenizer = trained(*word_piece(), normalizers.BertNormalizer(lowercase=case, strip_accents=accents),
                                pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(cleanup=case), bert_pair)
            tokenizer.add_tokens([AddedToken("lamplight", normalized=True), AddedToken("Élan", normalized=True)])
            tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True, normalized=False)])
            keep(f"bert-{case}-{accents}", tokenizer)
    tokenizer = trained(*word_piece(max_input_chars_per_word=12), normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()]),
                        pre_tokenizers.Whitespace(), decoders.WordPiece(prefix="##", cleanup=False))
    keep("wordpiece-whitespace", tokenizer)

    def unigram(vocabulary=500, **options):
        return models.Unigram(), trainers.UnigramTrainer(vocab_size=vocabulary, unk_token="<unk>", show_progress=False,
                                                         special_tokens=["<unk>", "<s>", "</s>"], **options)

    pieces = pre_tokenizers.Metaspace()
    keep("unigram-metaspace", trained(*unigram(), None, pieces, decoders.Metaspace()))
    keep("unigram-nfkc", trained(*unigram(), normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]),
                                 pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]),
                                 decoders.Metaspace(), lambda t: processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])))
    keep("unigram-whole", trained(*unigram(), normalizers.NFKD(), pre_tokenizers.Metaspace(prepend_scheme="first", split=False), decoders.Metaspace(prepend_scheme="first")))

    fallback_alphabet = [f"<0x{byte:02X}>" for byte in range(256)]
    for name in ("unigram-bytes",):
        tokenizer = trained(*unigram(), None, pieces, decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()]))
        text = json.loads(tokenizer.to_str())
        text["model"]["vocab"] += [[token, 0.0 - i / 100] for i, token in enumerate(fallback_alphabet)]
        text["model"]["byte_fallback"] = True
        path = folder / f"{name}.json"
        path.write_text(json.dumps(text))
        made[name] = path

    def bpe(vocabulary=700, special=("<unk>", "<s>", "</s>"), **options):
        trainer_options = {key: options[key] for key in ("continuing_subword_prefix", "end_of_word_suffix") if key in options}
        return models.BPE(**options), trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=list(special), show_progress=False, **trainer_options)

    llama_decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    for fuse in (True, False):
        for whole in (True, False):
            normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]) if whole else None
            tokenizer = trained(*bpe(unk_token="<unk>", fuse_unk=fuse, byte_fallback=True, special=["<unk>", "<s>", "</s>"] + fallback_alphabet, vocabulary=1000),
                                normalizer, None if whole else pre_tokenizers.Metaspace(prepend_scheme="first", split=False), llama_decoder,
                                lambda t: processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)]))
            text = json.loads(tokenizer.to_str())
            # Byte tokens are ordinary ones in real files, and a few are missing here.
            text["added_tokens"] = text["added_tokens"][:3]
            path = folder / f"bpe-fallback-{fuse}-{whole}.json"
            path.write_text(json.dumps(text))
            made[path.stem] = path
            for token in fallback_alphabet[0xE0:0xE6]:
                text["model"]["vocab"]["x" + token] = text["model"]["vocab"].pop(token)
            path = folder / f"bpe-fallback-partial-{fuse}-{whole}.json"
            path.write_text(json.dumps(text))
            made[path.stem] = path
    keep("bpe-unknown", trained(*bpe(unk_token="<unk>", fuse_unk=False, special=["<unk>"]), None, pre_tokenizers.Whitespace(), None))
    keep("bpe-no-unknown", trained(*bpe(special=["<s>"]), normalizers.Lowercase(), pre_tokenizers.WhitespaceSplit(), decoders.Fuse()))
    keep("bpe-suffix", trained(*bpe(unk_token="<unk>", end_of_word_suffix="</w>"), normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer(), decoders.BPEDecoder("</w>")))
    keep("bpe-prefix", trained(*bpe(unk_token="<unk>", continuing_subword_prefix="##"), None, pre_tokenizers.Sequence(
        [pre_tokenizers.CharDelimiterSplit("-"), pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.WhitespaceSplit()]), decoders.WordPiece()))
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            keep(f"split-{behavior}-{invert}", trained(*bpe(unk_token="<unk>"), None, pre_tokenizers.Sequence(
                [pre_tokenizers.Split(Regex(r"\s"), behavior, invert), pre_tokenizers.Split("e", behavior, not invert)]), decoders.Strip("e", int(invert), int(not invert))))
    keep("byte-normalizer", trained(*bpe(), normalizers.ByteLevel(), pre_tokenizers.Split(Regex("Ġ"), "merged_with_next"), decoders.ByteLevel()))
    keep("byte-lowercase", trained(*bpe(), normalizers.Lowercase(), pre_tokenizers.Sequence([pre_tokenizers.Digits(), pre_tokenizers.ByteLevel()]), decoders.ByteLevel()))
    roberta = lambda t: processors.RobertaProcessing(("</s>", 2), ("<s>", 1), trim_offsets=True, add_prefix_space=True)
    keep("roberta", trained(models.BPE(), trainers.BpeTrainer(vocab_size=700, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False,
                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()), None, pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel(), roberta))
    keep("word-level", trained(models.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer(special_tokens=["<unk>"], show_progress=False), normalizers.Strip(), pre_tokenizers.Whitespace()))
    return made


def train_sentence_piece(folder):
    """Models of both kinds by SentencePiece's own trainer, with its several options."""
    import sentencepiece
    corpus = folder / "corpus.txt"
    corpus.write_text(CORPUS)
    base = dict(input=str(corpus), vocab_size=400, hard_vocab_limit=False, character_coverage=0.98, minloglevel=2, num_threads=1)
    variants = {
        "sp-bpe": dict(model_type="bpe", byte_fallback=True, vocab_size=700, normalization_rule_name="identity", remove_extra_whitespaces=False),
        "sp-bpe-nfkc": dict(model_type="bpe"),
        "sp-bpe-user": dict(model_type="bpe", user_defined_symbols=["<usr>", "light", "▁▁▁"], control_symbols=["<ctl>"], remove_extra_whitespaces=False),
        "sp-unigram": dict(model_type="unigram"),
        "sp-unigram-cf": dict(model_type="unigram", normalization_rule_name="nmt_nfkc_cf", byte_fallback=True, vocab_size=600),
        "sp-unigram-user": dict(model_type="unigram", user_defined_symbols=["<usr>", "light"], control_symbols=["<ctl>"], add_dummy_prefix=False),
        "sp-unigram-raw": dict(model_type="unigram", normalization_rule_name="identity", remove_extra_whitespaces=False, split_by_whitespace=False),
    }
    made = {}
    for name, options in variants.items():
        sentencepiece.SentencePieceTrainer.train(model_prefix=str(folder / name), **{**base, **options})
        made[name] = folder / f"{name}.model"
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bench", required=True, help="the program bench_tokenizer")
    parser.add_argument("--only", default="", help="only tokenizers whose name holds this")
    parser.add_argument("--keep", help="folder in which the trained tokenizers stay")
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(arguments.keep or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        checks = [(f"{file.parent.name}/{file.name}", file, ".model" in file.name) for file in arguments.files]
        checks += [(name, file, False) for name, file in train_all(folder).items()]
        checks += [(name, file, True) for name, file in train_sentence_piece(folder).items()]
        for name, file, is_sentence_piece in checks:
            if arguments.only in name:
                bad += (against_sentence_piece if is_sentence_piece else against_hugging_face)(name, arguments.bench, file)
    sys.exit(1 if bad else 0)


main()
