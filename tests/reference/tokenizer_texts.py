"""The texts on which tokenizers are trained and compared: what make_tokenizer_data.py commits and more."""
import random
import unicodedata

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

MORE = [
    "Élan vital", "ÉLAN ÀÉÎÕÜ naïve façade", "İstanbul IĞDIR ıi İ", "ΣΊΣΥΦΟΣ ὈΔΥΣΣΕΎΣ ς σ", "STRASSE Straße ẞ", "ǅ Ǆ ǆ ﬀ ﬁ ﬂ ﬃ",
    "①②③ ½ ⅓ Ⅷ ㎏ ㏂ ㍿ ﷺ", "ｆｕｌｌ ｗｉｄｔｈ ｶﾀｶﾅ ﾊﾟ", "\u1e9b\u0323 \u212b \u2126 \ufb4f", "ｱｲｳ ア゙ が ぱ", "한글 \u1112\u1161\u11ab 각 ㄱㅏ",
    "زبان فارسی می‌خواهم", "עברית שָׁלוֹם", "العَرَبِيَّة ١٢٣", "हिन्दी क्षत्रिय श्री", "বাংলা ভাষা", "தமிழ் மொழி", "తెలుగు", "ภาษาไทยไม่มีช่องว่าง", "ພາສາລາວ",
    "ភាសាខ្មែរ", "မြန်မာဘာသာ", "ქართული ენა", "հայերեն", "አማርኛ", "བོད་སྐད", "ᏣᎳᎩ ꭰꭱ", "ꦧꦱꦗꦮ", "𐌰𐌱𐌲 𐎠𐎡", "𠀀𠮷野家 㐀 豈 \U0002b740\U0002b820\U0002b920",
    "👩🏽‍🚀👨‍👩‍👧‍👦🏳️‍🌈", "🇫🇷🇩🇪🇯🇵🇺", "☕︎☕️", "1️⃣2️⃣#️⃣", "é́́́", "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘",
    "a\u200bb\u200cc\u200dd\u2060e\ufefff", "a\u00adb", "\u202eabc\u202c", "\u2066x\u2069", "\x00", "\x01\x02\x03x\x7f", "a\x0cb\x0bc\x1cd\x1de", "\x85\xa0x",
    "▁", "▁▁x", " ▁ x", "x▁y z", "##ing ##", "a##b", "Ġthe ĠĠ", "</w>", "a</w>b", "<0x41>", "<0xE2><0x82>", "<unk>", "a <unk> b<unk>", "[UNK] [CLS]x[SEP]",
    "[MASK]", "the [MASK] light", "x[MASK]y", "<s>", "</s> x", "a<s>b</s>c", "  <s>  x", "<usr>", "a<usr>b <usr> c", "lightlight lights", "<ctl>x", "the   light", "   ▁▁▁ x",
    "it's n't 've do not don't . , ! ? ' s", "I do not know , why ' it ' is n't 's", "x-y--z-", "---", "e", "ee", "tree eel e e", "a e  e b\n\ne", "eeee  eeee",
    "the " * 60, "x" * 99, "x" * 100, "x" * 101, "é" * 100, "é" * 101, "lighthouse" * 30, "漢字" * 60, " " * 300, "\t" * 40, "a" * 5000, "ab " * 900, "🌊" * 70,
    "\ufffd", "a\ufffdb", "\U0010ffff", "\ue000 \uf8ff", "\u0378 \U000e0100", "\u2028x\u2029y", "\u3000x\u3000", "\u1680x\u2009y", "２０２４年１２月", "x²+y³=z⁴",
    "«guillemets» “quotes” ‘x’ „y‟ … — – ‐", "¿¡§¶†‡•‰′″", "$€£¥₹ ±×÷≠≤∞ ←→ ■□", "`~^+=|<>", "a_b__c", "C++ C# .NET a.b@c.de", "\r", "\r\r\n", "x\r\ny\rz",
]


def random_texts(count=160, seed=5):
    """Strings of characters drawn from all over Unicode, with spaces and letters between."""
    draw = random.Random(seed)
    named = [chr(c) for c in range(0x20000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    # Of characters younger than Unicode 8, libraries hold different opinions.
    pools = ["the light on ", " \n\t  ", "ABCdefé", "0123456789", ".,;:!?-'\"()", [chr(c) for c in range(0x300, 0x370)], [chr(c) for c in range(0xC0, 0x250)],
             [chr(c) for c in range(0x4E00, 0x4F00)], [chr(c) for c in range(0x1F300, 0x1F640)], [chr(c) for c in range(0xFF01, 0xFFE0) if chr(c) in named],
             [chr(c) for c in range(0x2000, 0x2070) if chr(c) in named and c not in range(0x2065, 0x206A)], [chr(c) for c in range(0x370, 0x1000) if chr(c) in named and is_old(chr(c))],
             [chr(c) for c in range(0x1E00, 0x2000) if chr(c) in named], [chr(c) for c in range(0xAC00, 0xAD00)], [chr(c) for c in range(0x3040, 0x3400) if chr(c) in named and is_old(chr(c))],
             [chr(c) for c in range(1, 0x20)]]
    found = []
    for _ in range(count):
        chosen = draw.sample(pools, 4) + [pools[0]]
        found.append("".join(draw.choice(draw.choice(chosen)) for _ in range(draw.randrange(1, 60))))
    return found


def is_old(character):
    """Known to the Unicode of 2009, which Python keeps: all libraries agree about these."""
    return unicodedata.ucd_3_2_0.category(character) != "Cn"


def texts(names=()):
    """All texts, and some with the given names of added tokens inside."""
    found = CASES + MORE + CORPUS.split("\n") + [CORPUS] + random_texts()
    for name in names:
        found += [name, f"the{name}light", f"the {name} light", f" {name}{name} x", f"É{name}é", name[:-1], name.upper(), f"a\n{name}\n"]
    # Bytes that are no UTF-8, as Python reads them.
    found += [bytes(data).decode(errors="replace") for data in (b"a\xffb", b"\xe2\x82", b"the \xc3\x28 light", b"\xf0\x9f\x8c", b"\xed\xa0\x80x")]
    return found
