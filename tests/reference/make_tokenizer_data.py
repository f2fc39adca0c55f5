"""Writes tests/reference/data/tokenizer/: small tokenizers trained by Hugging Face's `tokenizers`, and what they do.

    python3 -m pip install tokenizers sentencepiece protobuf
    python3 tests/reference/make_tokenizer_data.py

For each other kind, KIND/tokenizer.json or KIND/tokenizer.model with what `tokenizers` or `sentencepiece` make of the
texts of kinds.json: the ids with special tokens around them, and the text that these decode to.

word_piece_training.json holds vocabularies that its WordPieceTrainer learns from that text.

corpus.txt is the text that they are trained on. For each split pattern NAME, NAME/tokenizer.json is the tokenizer and
cases.json holds texts and the ids that `tokenizers` gives them, with the special tokens around them.
"""
import json
import pathlib
import random
import sys
import tempfile
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from tokenizer_texts import CASES, CORPUS, MORE  # noqa: E402

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


def bert(tokenizer):
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    return trainers.WordPieceTrainer(vocab_size=420, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False)


def small_character_map():
    """The map of a few rules, as SentencePiece compiles them."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    with tempfile.TemporaryDirectory() as folder:
        train_sentence_piece(pathlib.Path(folder) / "map", model_type="unigram", vocab_size=340, **with_rules(pathlib.Path(folder)))
        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString((pathlib.Path(folder) / "map.model").read_bytes())
        return model.normalizer_spec.precompiled_charsmap


def unigram(tokenizer):
    tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(small_character_map()), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return trainers.UnigramTrainer(vocab_size=260, unk_token="<unk>", special_tokens=["<pad>", "</s>", "<unk>"], show_progress=False)


BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def byte_fallback(tokenizer):
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return trainers.BpeTrainer(vocab_size=560, special_tokens=["<unk>", "<s>", "</s>"] + BYTES, show_progress=False, limit_alphabet=60)


def word_ends(tokenizer):
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(r"\s+"), "removed"), pre_tokenizers.Punctuation("merged_with_previous"),
                                                       pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Split("the", "merged_with_next")])
    tokenizer.decoder = decoders.BPEDecoder("</w>")
    return trainers.BpeTrainer(vocab_size=330, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False, limit_alphabet=80)


def few_bytes(tokenizer):
    """Byte-level BPE that knows only the bytes of its corpus, as SmolLM2's does."""
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return trainers.BpeTrainer(vocab_size=330, special_tokens=["<unk>", "<s>"], limit_alphabet=70, show_progress=False)


def train_kind(name, model, configure, single=None, bytes_are_plain=False):
    tokenizer = Tokenizer(model)
    trainer = configure(tokenizer)
    tokenizer.train_from_iterator(CORPUS.split("\n"), trainer)
    if single is not None:
        specials = [(token, tokenizer.token_to_id(token)) for token in single.split() if token != "$A"]
        tokenizer.post_processor = processors.TemplateProcessing(single=single, special_tokens=specials)
    tokenizer.add_tokens([AddedToken("lamplight", normalized=True), AddedToken("Élan", normalized=True)])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False, special=True)])
    (FOLDER / name).mkdir(exist_ok=True)
    file = FOLDER / name / "tokenizer.json"
    content = json.loads(tokenizer.to_str())
    if bytes_are_plain:  # they are ordinary tokens in real files
        content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] not in BYTES]
    file.write_text(json.dumps(content, ensure_ascii=False))
    tokenizer = Tokenizer.from_file(str(file))
    found = [tokenizer.encode(text).ids for text in kind_texts()]
    return [[ids, tokenizer.decode(ids, skip_special_tokens=False)] for ids in found]


def with_rules(folder):
    rules = {"\uff41": "a", "\u3000": " ", "\t": " ", "\ufb01": "fi", "e\u0301": "\u00e9", "\u00c9": "e", "\u0300": "", "\u00bd": "1/2", "...": "\u2026"}
    (folder / "rules.tsv").write_text("".join(f"{' '.join(f'{ord(c):X}' for c in a)}\t{' '.join(f'{ord(c):X}' for c in b)}\n" for a, b in rules.items()))
    return {"normalization_rule_tsv": str(folder / "rules.tsv")}


def train_sentence_piece(prefix, **options):
    import sentencepiece
    with tempfile.TemporaryDirectory() as folder:
        corpus = pathlib.Path(folder) / "corpus.txt"
        corpus.write_text(CORPUS)
        sentencepiece.SentencePieceTrainer.train(input=str(corpus), model_prefix=str(prefix), hard_vocab_limit=False, character_coverage=0.98,
                                                 minloglevel=2, num_threads=1, control_symbols=["<ctl>"], **options)
    pathlib.Path(f"{prefix}.vocab").unlink()
    return sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")


def sentence_piece_kind(name, **options):
    (FOLDER / name).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if options.pop("rules", False):
            options.update(with_rules(pathlib.Path(folder)))
        peer = train_sentence_piece(FOLDER / name / "tokenizer", **options)
    return [[peer.encode(text), None] for text in kind_texts()]


def kind_texts():
    return [text for text in MORE + CASES[:40] if len(text) <= 310]


def write_kinds():
    results = {
        "bert": train_kind("bert", models.WordPiece(unk_token="[UNK]"), bert, "[CLS] $A [SEP]"),
        "unigram": train_kind("unigram", models.Unigram(), unigram, "$A </s>"),
        "byte_fallback": train_kind("byte_fallback", models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True), byte_fallback, "<s> $A", True),
        "few_bytes": train_kind("few_bytes", models.BPE(), few_bytes, "<s> $A"),
        "few_bytes_unknown": train_kind("few_bytes_unknown", models.BPE(unk_token="<unk>"), few_bytes, "<s> $A"),
        "few_bytes_fused": train_kind("few_bytes_fused", models.BPE(unk_token="<unk>", fuse_unk=True), few_bytes, "<s> $A"),
        "word_ends": train_kind("word_ends", models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"), word_ends),
        "sp_bpe": sentence_piece_kind("sp_bpe", model_type="bpe", vocab_size=600, byte_fallback=True, normalization_rule_name="identity",
                                      remove_extra_whitespaces=False, user_defined_symbols=["<usr>", "\u2581\u2581\u2581"]),
        "sp_unigram": sentence_piece_kind("sp_unigram", model_type="unigram", vocab_size=340, user_defined_symbols=["<usr>", "light"], rules=True),
    }
    text = json.dumps({"texts": kind_texts(), "results": results}, ensure_ascii=True, separators=(",", ":"))
    (FOLDER / "kinds.json").write_text(text + "\n")


def word_piece_training():
    """Vocabularies that WordPieceTrainer learns. Its order of the marked letters, which decides between equally frequent
    pairs, changes from run to run: the words of the text have counts that make few pairs equal, and only what comes out
    the same in all of many runs is kept."""
    draw = random.Random(7)
    syllables = ["the", "ing", "Lo", "ra", "men", "t\u00e9", "s", "ck", "ab", "un", "x", "\u4e2d", "\U0001F600"]
    words = ["".join(draw.choices(syllables, k=draw.randrange(1, 5))) for _ in range(70)]
    text = " ".join(word for rank, word in enumerate(words) for _ in range(1 + 4000 // (7 + 13 * rank)))
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    cases = []
    for lowercase, limit, least, size in ((True, 1000, 2, 90), (True, 1000, 2, 140), (True, 12, 2, 100), (False, 1000, 2, 120),
                                          (False, 1000, 40, 5000), (True, 1000, 3, 5000), (True, 1000, 100, 5000)):
        found = set()
        for _ in range(20):
            tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
            tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
            tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
            tokenizer.train_from_iterator([text], trainers.WordPieceTrainer(
                vocab_size=size, min_frequency=least, limit_alphabet=limit, special_tokens=specials, show_progress=False))
            found.add(tuple(sorted(tokenizer.get_vocab())))
        if len(found) == 1:
            cases.append({"vocabulary_size": size, "min_frequency": least, "alphabet_limit": limit, "lowercase": lowercase,
                          "tokens": next(iter(found))})
    return {"text": text, "cases": cases}


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
    write_kinds()
    text = json.dumps(word_piece_training(), ensure_ascii=True, separators=(",", ":"))
    (FOLDER / "word_piece_training.json").write_text(text + "\n")


main()
