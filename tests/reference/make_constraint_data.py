"""Writes tests/reference/data/constraint/cases.json: texts, and whether Python's `re` and `jsonschema` accept them.

    python3 -m pip install jsonschema
    python3 tests/reference/make_constraint_data.py

"regex" and "schema" each list [pattern or schema, [[text, accepted, made], ...]]. "made" texts were written by rules that
keep to the order and white space of fledge's constraints, so a constraint must accept them; of the others, which are
changed at random, it must accept none that the oracle refuses.
"""
import json
import pathlib
import random
import re

import jsonschema

FOLDER = pathlib.Path(__file__).resolve().parent / "data" / "constraint"
random.seed(7)
ALPHABET = "ab01 _-.é€😀\n\"\\{}[],:"

REGEXES = [
    (r"(?:ab|a)*b?", ["", "abab", "aab", "aaab"]),
    (r"[^\d\s]{2,4}", ["ab", "é€😀_"]),
    (r"\w+(?:-\w+)*", ["a", "ab-01-b"]),
    (r"\d{1,3}(?:\.\d{1,3}){3}", ["1.10.100.0"]),
    (r"a?b{2}|[0-1.]+$", ["abb", "bb", "0.1"]),
    (r"^.{3}$", ["é€😀", "a b"]),
    (r"(?:a|b)*a(?:a|b){3}", ["abbb", "aaaa", "bbabab"]),
    (r"[€-😀]+?b*?", ["€😀", "😀bb"]),
    (r"\D\W\S", ["a-b", "é é"]),
    (r"(?P<x>[ab]{0,3}){2,}", ["", "ababab"]),
]


def string(least=0, most=6):
    return "".join(random.choice("ab0 é€😀\n\"\\") for _ in range(random.randint(least, most)))


def make_schema(depth):
    """A schema and a function that makes a valid value."""
    kind = random.choice(["integer", "string", "boolean", "null", "enum", "number"] + ["object", "array", "any"] * (depth > 0))
    if kind == "integer":
        low = random.randint(-120, 120)
        high = low + random.choice([0, 3, 40, 1500])
        return {"type": "integer", "minimum": low, "maximum": high}, lambda: random.choice([low, high, random.randint(low, high)])
    if kind == "number":
        low = random.randint(-20, 20)
        high = low + random.choice([1, 2, 30])
        schema = {"type": "number", "exclusiveMinimum": low, "maximum": high}
        return schema, lambda: random.choice([high, low + 0.25, high - 0.5])
    if kind == "string":
        least = random.randint(0, 2)
        return {"type": "string", "minLength": least, "maxLength": least + 4}, lambda: string(least, least + 4)
    if kind == "boolean":
        return {"type": ["boolean", "null"]}, lambda: random.choice([True, False, None])
    if kind == "null":
        return {"type": "null", "title": "nothing"}, lambda: None
    if kind == "enum":
        values = [string(), 3, True, {"a": [1, None]}]
        return {"enum": values}, lambda: random.choice(values)
    if kind == "any":
        parts = [make_schema(depth - 1) for _ in range(2)]
        return {"anyOf": [part[0] for part in parts]}, lambda: random.choice(parts)[1]()
    if kind == "array":
        item = make_schema(depth - 1)
        least = random.randint(0, 2)
        schema = {"type": "array", "items": item[0], "minItems": least, "maxItems": least + 2}
        return schema, lambda: [item[1]() for _ in range(random.randint(least, least + 2))]
    names = random.sample(["a", "ab", "b", "é", "a\"b", "0", ""], random.randint(0, 4))
    members = {name: make_schema(depth - 1) for name in names}
    required = [name for name in names if random.random() < 0.5]
    other = random.choice([None, make_schema(0)])
    schema = {"type": "object", "properties": {name: part[0] for name, part in members.items()}, "required": required,
              "additionalProperties": other[0] if other else False}

    def make():
        value = {name: part[1]() for name, part in members.items() if name in required or random.random() < 0.6}
        if other and random.random() < 0.5:
            value["abb"] = other[1]()
        return value

    return schema, make


def mutated(text):
    for _ in range(random.randint(1, 2)):
        place = random.randint(0, len(text))
        text = text[:place] + random.choice(["", random.choice(ALPHABET)]) + text[place + random.randint(0, 2):]
    return text


def accepts(schema, text):
    try:
        jsonschema.validate(json.loads(text, parse_constant=lambda _: 1 / 0), schema)
        return True
    except (ValueError, ZeroDivisionError, jsonschema.ValidationError):
        return False


def main():
    regexes, schemas = [], []
    for pattern, texts in REGEXES:
        cases = [[text, bool(re.fullmatch(pattern, text, re.ASCII)), True] for text in texts]
        assert all(case[1] for case in cases), pattern
        for _ in range(25):
            text = mutated(random.choice(texts))
            cases.append([text, bool(re.fullmatch(pattern, text, re.ASCII)), False])
        regexes.append([pattern, cases])
    for _ in range(60):
        schema, make = make_schema(2)
        cases = []
        for _ in range(5):
            value = make()
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            cases.append([text, True, True])
            assert accepts(schema, text), (schema, text)
            for _ in range(3):
                changed = mutated(text)
                cases.append([changed, accepts(schema, changed), False])
        schemas.append([schema, cases])
    FOLDER.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"regex": regexes, "schema": schemas}, ensure_ascii=False, separators=(",", ":"))
    (FOLDER / "cases.json").write_text(text + "\n", encoding="utf-8")


main()
