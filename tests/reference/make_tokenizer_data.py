"""Writes tests/reference/data/tokenizer/: small tokenizers trained by Hugging Face's `tokenizers`, and what they do.

    python3 -m pip install tokenizers
    python3 tests/reference/make_tokenizer_data.py

corpus.txt is the text that they are trained on. For each split pattern NAME, NAME/tokenizer.json is the tokenizer and
cases.json holds texts and the ids that `tokenizers` gives them, with the special tokens around them.
"""
import json
import pathlib
import random
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

FOLDER = pathlib.Path(__file__).resolve().parent / "data" / "tokenizer"
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + REST
QWEN2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + REST
# A pattern that has no scanner of its own, in the manner of DeepSeek.
OTHER = [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
         r"[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]

CORPUS = """\
The lighthouse keeper's daughter didn't know that the ships weren't coming back. She'd wait on the rocks each evening,
counting the waves: one, two, three, and so on up to a hundred; then she'd start again. "They're late," she would say,
"but they'll come." Her father said nothing. He trimmed the lamp, he wound the clock, he wrote 1,024 lines in his book.

In the year 1887 the keeper wrote:  "Wind from the north-west, 40 knots.  Barometer 29.53 and falling."  In 1888 he wrote
less, and in 1889 he only drew small circles, one for every ship that he had seen, 365 of them in all.

    def light(lamp, oil=3.5):
        if lamp.is_lit():
            return lamp
        for drop in range(10):
            lamp.fill(oil / 10)   # slowly
        return lamp.burn()

Der Leuchtturmwärter schrieb jeden Abend in sein Büchlein, daß die Schiffe größer würden und die Nächte länger.
Le gardien du phare écrivait chaque soir que les bateaux étaient déjà passés, là-bas, près de l'île où l'été finit.
El farero escribía cada noche que los niños ya no bajaban a la playa; ¿adónde habían ido? ¡Quién sabe!
Смотритель маяка каждый вечер записывал, что корабли уходят всё дальше и дальше, а ночи становятся длиннее.
Ο φύλακας του φάρου έγραφε κάθε βράδυ ότι τα πλοία δεν θα γύριζαν πια.
灯台守は毎晩、船が帰ってこないことを帳面に書いた。灯台守の娘は岩の上で待っていた。
守塔人每天晚上都在本子上写：船还没有回来。他的女儿坐在岩石上等着。
등대지기는 매일 밤 배가 돌아오지 않는다고 적었다. 딸은 바위 위에서 기다렸다.
حارس المنارة يكتب كل مساء أن السفن لم تعد.
प्रहरी हर शाम लिखता था कि जहाज़ वापस नहीं आए।
The end 🌊🌊 ⛵ 👨‍👩‍👧 🇫🇷 — and the light, the light, the light went on and on and on.
"""

CASES = [
    "", " ", "  ", "a", " a", "  a", "a ", "a  ", "\n", "\n\n", "\r\n", "\r\n\r\n x", " \n", "\n ", " \n ", "  \n\n  ",
    "\t\tx", "x\t\ty", "a\u00a0b", "\u00a0 a", "a\u2003\u2003b", "a\u3000b", "a\u180eb", "a\u0085b", "a\u2028b\u2029",
    "The lighthouse keeper's daughter didn't know.", "They'Re LATE, they'LL come, I'D say IT'S 'tis o'clock 'S 'ſ 'ſx",
    "''s 's's 'll've're 'x ' '' x' 'r 'v 'l 're", "can't've", " 's", "don\u2019t",
    "1 12 123 1234 12345 1234567890", "3.14159e-10", " 12 345", "x1y22z333", "٣٤٥٦ ५६७ Ⅷ ½ ²³", "1\u0660\u0966a",
    "hello_world snake_case CamelCase kebab-case", "a.b,c;d:e!f?g", "!!! ??? ...\n\n...", "!\n!\r\n!\n\n", " !\n x",
    "$%^&*()_+{}|:\"<>?~`-=[]\\;',./", "==>  <==", "# heading\n\n* item\n    * nested\n",
    "if (x) {\n\treturn y;\n}\n", "def f():\n        pass\n\n\n    # end   ", "   leading", "trailing   ", "mid   dle",
    "Büchlein größer würden daß", "e\u0301te\u0301 \u00e9t\u00e9 \u212b \u1e9b\u0323", "là-bas l'île où", "¿adónde? ¡Quién!",
    "корабли уходят всё дальше", "φύλακας του φάρου", "灯台守は毎晩", "守塔人每天晚上", "등대지기는 매일 밤", "\u1112\u1161\u11ab",
    "السفن لم تعد", "जहाज़ वापस नहीं", "ไม่มีเรือกลับมา", "a\u0300\u0301b \u0300x", "ﬁ ǅ ʰ ꟶ",
    "🌊", " 🌊🌊 ", "👨‍👩‍👧", "🇫🇷🇩🇪", "x🌊y", "1🌊2", "🌊\n🌊", "☕️ ⛵", "\ufeffbom", "zero\u200bwidth\u200djoin",
    "\x00\x01\x02", "a\x00b", "\x7f\x1b[0m", "\x0b\x0c\x1c\x1f", "\ufffd\uffff", "\U0010ffff \U000e0001", "𝕳𝖊𝖑𝖑𝖔 𝟙𝟚𝟛",
    "a" * 100, " " * 100, "ab" * 60, "\n" * 50 + "x", "1" * 50, "!" * 50, "é" * 40, "漢" * 30,
    "the the the theme their there then", "onandonandon on and on", "https://example.org/a?b=c&d=%20#e",
    "<|endoftext|>", "a<|endoftext|>b", " <|endoftext|> \n", "<|endoftext|><|endoftext|>", "<|endoftext|", "<|endoftext|>|>",
    "<|end|> <|end|>", "x<|end|>y<|endoftext|>z", "<mask> a<mask> <mask>b <mask>, (<mask>)", "  <mask>  x",
    "a  <strip>  b", "<strip><strip>", "  <strip>", "lamplight lamp lamplighter", "the lamplight's", "éà <é> e\u0301 <e\u0301>",
]


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
