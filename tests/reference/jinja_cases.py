"""The snippets, templates and messages of make_jinja_data.py; all written for this project."""

VARIABLES = {
    "n": 7, "z": 0, "f": 2.5, "neg": -3, "t": True, "nothing": None, "s": "Hello, World", "e": "",
    "u": "Grüße 漢字 🌊", "l": [3, 1, 2], "words": ["pear", "Apple", "fig", "apple"], "nested": [[1, 2], [3, 4]],
    "d": {"b": 1, "a": [1, None], "items": "key", "C": 2.0}, "q": "it's \"so\"\n\t\\ \x07",
    "users": [{"name": "Ann", "age": 30, "x": {"y": 1}}, {"name": "bob", "age": 25}, {"name": "Cy", "age": 30, "x": {"y": 2}}],
}


def expressions():
    yield from """
1 + 2 * 3|(1 + 2) * 3|7 // 2|-7 // 2|7 // -2|-7 % 3|7 % -3|7 / 2|6 / 3|2 ** 10|2 ** -1|2 ** 3 ** 2|-2 ** 2|7.5 // 2
-7.5 % 2|1e3|1e16|1e15|1.5e-5|0.0001|1_000|0x1F|0b101|0o17|1.0|100000000000000000.0|0.1 + 0.2|1 / 3|n - - 3|+n|-f
1 / 0|1 // 0|1 % 0|n + "a"|"a" + n|"a" * 3|3 * "ab"|[1] * 2|[1] + [2]|(1,) + (2,)|"a" * -1|t + 1|t * f|n ~ "x" ~ nothing ~ t
1 < 2 < 3|1 < 3 < 2|1 == 1.0|t == 1|"a" < "b"|"Z" < "a"|1 < "a"|[1, 2] < [1, 3]|(1, 2) == [1, 2]|none == none|nothing < 1
1 != 2 and 2 > 1|not 1 == 2|not n in l|3 in l|3 not in l|"ell" in s|"" in s|1 in s|"b" in d|none in [none]|x in []|1 in x
n and z|z or "d"|z and 1/0|n or 1/0|not z|not not n|n if t else z|n if z else "no"|n if z|(n if z) is undefined
x|x.y|x is defined|x is undefined|nothing.foo|nothing.foo is defined|d.zzz|d.zzz.y|d["b"]|d.b|d.items|d["items"]|d.a[1]|d.get("q", 5)
d.get("b")|d.get("q")|l[0]|l[-1]|l[9]|l["a"]|l.0|nested.1.0|s[0]|s[-1]|s[99]|u[6]|u[-1]|s[1:4]|s[::-1]|s[:-1]|u[6:]|u[::2]|l[1:]|l[::-1]|l[5:]|l[-2:]|l[::0]
l[:99:2]|l[2:0:-1]|(1, 2, 3)[1:]|s[1:4:2]|d[1:]|[1, "a", 2.0, none, true, [1], (1,), (), {"a": 1}]|{"a": "it's", 'b': "\\"", 1: none}|q|[q]|[u]|["\\x80\\u200b\\xa0"]
"a" "b"|'it\\'s'|"tab\\tnew\\nline\\\\"|"\\x41\\u00e9"|"\\d"|true|True|none|None|false|[]|{}|()|(1)|(1,)|1,2|{"a": 1}.a|[1,2,][1]
n is odd|n is even|n is divisibleby 7|n is divisibleby(2)|n is number|t is number|t is integer|n is integer|f is float|t is boolean|s is string|n is string|d is mapping|l is mapping
l is sequence|s is sequence|d is sequence|n is sequence|l is iterable|n is iterable|s is iterable|x is iterable|nothing is none|x is none|t is true|n is true|z is false|false is false|n is callable|range is callable
n is eq 7|n is equalto 7|n is ne 7|n is gt 6|n is ge(7)|n is lt 7|n is le 7|n is not lt 7|3 is in l|3 is in [1]|s is upper|"AB" is upper|"ab" is lower|n is sameas 7|x is zzz
n is not odd|n is defined and t|not n is odd|n is odd is even|n is not defined or t|s is string and l|-1 is number|l is defined and l[0] == 3
""".strip().replace("\n", "|").split("|")


def filters():
    yield from r"""
s | upper ¦ s | lower ¦ s | length ¦ u | length ¦ u | upper ¦ u | lower ¦ "hello wORLD it's foo-bar (baz)" | title ¦ "hELLO wORLD" | capitalize ¦ "  a b\n" | trim ¦ "xxaxx" | trim("x") ¦ [s | trim]
l | join ¦ l | join(", ") ¦ users | join("/", attribute="name") ¦ l | first ¦ [] | first ¦ l | last ¦ s | first ¦ s | last ¦ l | reverse | list ¦ s | reverse ¦ l | length ¦ d | length ¦ x | length ¦ n | length
l | sort ¦ words | sort ¦ words | sort(case_sensitive=true) ¦ l | sort(reverse=true) ¦ users | sort(attribute="age") | map(attribute="name") | join(",") ¦ users | sort(attribute="age,name", reverse=true) | map(attribute="name") | list ¦ [1, "a"] | sort
words | unique | list ¦ words | unique(true) | list ¦ users | unique(attribute="age") | map(attribute="name") | list ¦ l | min ¦ l | max ¦ words | max ¦ [] | max ¦ users | max(attribute="age") ¦ l | sum ¦ users | sum(attribute="age") ¦ l | sum(start=10)
d | dictsort ¦ d | dictsort(true) ¦ {"x": 2, "y": 1} | dictsort(by="value") ¦ d | dictsort(reverse=true) ¦ d | items | list ¦ x | items | list ¦ d.items() | list ¦ d.keys() | list ¦ d.values() | list ¦ d.keys() ¦ d | list
users | selectattr("x") | map(attribute="name") | list ¦ users | rejectattr("x") | map(attribute="name") | list ¦ users | selectattr("age", "equalto", 30) | list | length ¦ users | selectattr("age", ">", 26) | map(attribute="name") | join ¦ users | selectattr("x.y", "defined") | list | length
users | map(attribute="x.y", default=0) | list ¦ users | map(attribute="zzz") | list ¦ l | map("string") | join("-") ¦ words | map("upper") | list ¦ words | map("replace", "p", "P") | list ¦ l | select("odd") | list ¦ l | reject("odd") | list ¦ [0, 1, "", "a"] | select | list ¦ l | select("gt", 1) | list ¦ l | select ¦ l | map
users | groupby("age") | map("first") | list ¦ (users | groupby("age"))[0][1] | length ¦ range(7) | batch(3) | list ¦ range(7) | batch(3, "x") | list ¦ nested | map("join", "+") | list ¦ nested | map("sum") | list
x | default("d") ¦ e | default("d") ¦ e | default("d", true) ¦ x | d ¦ nothing | default("d") ¦ nothing | default("d", boolean=true) ¦ d.zzz | default(5) ¦ x.y | default("d")
"42" | int ¦ "4.7" | int ¦ "abc" | int ¦ "abc" | int(9) ¦ "0x1F" | int(base=16) ¦ "1F" | int(0, 16) ¦ f | int ¦ -2.7 | int ¦ t | int ¦ nothing | int ¦ " 12 " | int ¦ x | int ¦ "3.5" | float ¦ "x" | float ¦ 3 | float ¦ "1e3" | float ¦ "inf" | float ¦ "x" | float(1.5)
-3 | abs ¦ (-3) | abs ¦ neg | abs ¦ f | round ¦ 3.5 | round ¦ 2.675 | round(2) ¦ 1234.5 | round(-2) ¦ 2.1 | round(method="ceil") ¦ 2.9 | round(0, "floor") ¦ 5 | round ¦ 2.345 | round(2, "ceil") ¦ "a" | abs
"a,b,a" | replace("a", "x") ¦ "aaa" | replace("a", "b", 2) ¦ "abc" | replace("", "-") ¦ "漢字" | replace("", "-") ¦ n | replace("7", "8") ¦ "a\nb\n\nc" | indent ¦ "a\nb\n\nc" | indent(2, true) ¦ "a\n\nb" | indent(2, blank=true) ¦ "a\nb" | indent("> ") ¦ "a\n" | indent(1)
"x" | center(6) ¦ "ab" | center(5) ¦ "%s-%d" | format("a", 3) ¦ "%(a)s" | format(a=1) ¦ "%05.1f|%-4s|%+d" | format(3.14159, "ab", 5) ¦ "%x %X %o %e %g" | format(255, 255, 8, 12345.678, 0.00001) ¦ "%d%%" | format(3.9) ¦ "%s" | format ¦ "%r" | format("a") ¦ "%s %s" % (1, 2) ¦ "%s" % "a" ¦ "%s" % [1] ¦ "%d" % "a"
"a b, c" | wordcount ¦ "<b>x</b>  y <!-- c --> z" | striptags ¦ s | string ¦ l | string ¦ "<&>\"'" | escape | length ¦ s | safe ¦ s | list ¦ d | tojson ¦ l | tojson(indent=2) ¦ d | tojson(indent=4) ¦ u | tojson ¦ u | tojson(ensure_ascii=true) ¦ q | tojson ¦ "<a href='x'>&" | tojson ¦ f | tojson ¦ nothing | tojson ¦ x | tojson
d | tojson(sort_keys=true) ¦ d | tojson(separators=(",", ":")) ¦ [] | tojson(indent=2) ¦ {} | tojson(indent=2) ¦ {"a": {}, "b": [[]]} | tojson(indent=1) ¦ {1: 2, none: 3, true: 4, 1.5: 5} | tojson ¦ (1, 2) | tojson ¦ 1e100 | tojson ¦ "\x7f\x00" | tojson ¦ d | tojson(indent="--") ¦ d | zzz ¦ l | list | tojson | length
s.upper() ¦ s.lower() ¦ s.split() ¦ s.split(",") ¦ s.split("o", 1) ¦ " a  b ".split() ¦ " a  b  c ".split(none, 1) ¦ "a,b,c".rsplit(",", 1) ¦ " a b c ".rsplit(none, 1) ¦ "a\nb\r\nc\n".splitlines() ¦ "a\nb".splitlines(true) ¦ s.startswith("He") ¦ s.startswith(("x", "H")) ¦ s.endswith("ld") ¦ " x ".strip() ~ "|" ¦ " x ".lstrip() ~ "|" ¦ " x ".rstrip() ~ "|" ¦ "xxaxx".strip("x") ¦ "xyaz".lstrip("yx") ¦ "\n\n a\n".strip("\n")
s.title() ¦ "it's a tEST".title() ¦ "aBC".capitalize() ¦ s.replace("l", "L") ¦ s.replace("l", "L", 1) ¦ s.find("o") ¦ s.find("zz") ¦ u.find("字") ¦ s.rfind("o") ¦ s.index("zz") ¦ s.count("o") ¦ ", ".join(words) ¦ ", ".join(l) ¦ "{} {}".format(1, "a") ¦ "{0}{1}{0}".format("a", "b") ¦ "{a:>5}|{b:.2f}".format(a="x", b=3.14159) ¦ "{:05d} {:,} {:x} {:^7}|".format(42, 1234567, 255, "mid") ¦ "{0[a]} {1.name}".format({"a": 1}, users[0]) ¦ "{{}}".format() ¦ "{!r}".format("a")
"12".isdigit() ¦ "1a".isdigit() ¦ "ab".isalpha() ¦ "é漢".isalpha() ¦ "a1".isalnum() ¦ " ".isspace() ¦ "AB".isupper() ¦ "a.b.c".partition(".") ¦ "a.b.c".rpartition(".") ¦ "abc".partition("x") ¦ "prefix-a".removeprefix("prefix-") ¦ "7".zfill(3) ¦ "-7".zfill(4) ¦ "ß".upper() ¦ "ÀÉ".lower() ¦ l.index(1) ¦ l.count(3) ¦ l.append(4) ¦ l.pop() ¦ d.update({"a": 1}) ¦ d.pop("a") ¦ d.copy().b ¦ s.foo() ¦ s.zzz
range(5) | list ¦ range(2, 8, 3) | list ¦ range(5, 0, -2) | list ¦ range(0) | list ¦ range(1000000) | list ¦ dict(a=1, b=2) ¦ dict({"a": 1}, b=2) ¦ dict([("a", 1)]) ¦ namespace(a=1).a ¦ namespace().b ¦ foo() ¦ n() ¦ raise_exception("bad") ¦ strftime_now("%%") ¦ cycler("a", "b").next() ¦ {"a": 1} == {"a": 1.0} ¦ [1, [2]] == [1, [2.0]] ¦ "a" if x ¦ ("a" if x) ~ "b" ¦ -x ¦ x + 1 ¦ x ~ 1 ¦ x == y ¦ x < 1 ¦ x() ¦ not x ¦ x[0] ¦ "a" in none ¦ s | trim | upper | length + 1 ¦ -1 | abs ¦ n | string + "a" ¦ (n | string) + "a" ¦ l | join(sep) ¦ 1 if 0 else 2 if 0 else 3 ¦ [x] ¦ {"a": x} ¦ 'a'.__class__ ¦ d._x ¦ (l | select("odd")) is defined ¦ 'y' if l | select("gt", 9) else 'n' ¦ l | select | length ¦ l | list is iterable ¦ d.items() | length ¦ d | items | length
""".strip().replace("\n", " ¦ ").split(" ¦ ")


STATEMENTS = [
    "", "a", "a\n", "a\n\n", "\r\na\r\n", "{# c #}", "a{# c #}b", "a\n  {# c #}\nb", "{% if t %}\nyes\n{% endif %}\n", "  {% if t %}x{% endif %}", "a  {% if t %}x{% endif %}  b",
    "a \n {%- if t -%} \n x \n {%- endif -%} \n b", "a\n  {%+ if t %}x{% endif %}", "{% if t +%}\nx{% endif %}", "a\n  {{ n }}\n  b", "a\n  {{- n -}}\n  b", "{{ n }}\n{{ n }}\n", "{{n}}{{-n}}", "a\n{{- ' x ' }}", "{# a -#} \n b", "a {#- b #} c",
    "a\n\n  {% if t %}\n\n  b\n{% endif %}\n\nc", "{{ '{{' }}", "{{ '}}' }}", "{{ {'a': {'b': 1}}['a'] }}", "{{ {'a': {'b': 1}}.a.b }}", "{{ '%}' }}", "{%if t%}x{%endif%}", "{% if t -%}\n\n\tx {%- endif %}y", "x{% raw %} {{ a }} {% b %} {% endraw %}y", "{% raw -%}  a {%- endraw %} b", "{% raw %}\n a\n {% endraw %}\nb", "\u00a0{%- if t %}x{% endif %}",
    "{% if z %}a{% elif n %}b{% else %}c{% endif %}", "{% if z %}a{% else %}c{% endif %}", "{% if z %}a{% elif z %}b{% endif %}", "{% if x %}a{% endif %}", "{% if n > 5 and s %}a{% endif %}", "{% if %}{% endif %}", "{% if t %}", "{% endif %}", "{{", "{{ n", "{% foo %}", "{{ n }", "{{ (n }}", "{# x", "{% if t %}a{% endfor %}",
    "{% for i in l %}{{ i }},{% endfor %}", "{% for i in [] %}a{% else %}none{% endfor %}", "{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}", "{% for i in l %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }} {% endfor %}", "{% for i in l %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for i in l if i > 1 %}{{ loop.index }}{{ i }} {% endfor %}", "{% for i in l if i > 9 %}{{ i }}{% else %}none{% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }};{% endfor %}", "{% for a, b in nested %}{{ a + b }};{% endfor %}", "{% for (a, b) in nested %}{{ a * b }};{% endfor %}", "{% for a, b in l %}{% endfor %}", "{% for c in 'añ' %}[{{ c }}]{% endfor %}", "{% for i in x %}a{% endfor %}", "{% for i in n %}a{% endfor %}", "{% for i in none %}a{% endfor %}",
    "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{% break %}", "{% for i in l %}{% for j in l %}{{ loop.index }}{% if j == 1 %}{% break %}{% endif %}{% endfor %}|{{ loop.index }} {% endfor %}", "{% for i in l %}{{ loop.depth }}{% for j in l %}{{ loop.depth0 }}{% endfor %}{% endfor %}",
    "{% set a = 1 %}{{ a }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}", "{% set a %}x{{ n }}y{% endset %}{{ a }}", "{% set a | upper %}x{{ n }}y{% endset %}{{ a }}", "{% set a = 1 %}{% for i in l %}{% set a = i %}{% endfor %}{{ a }}", "{% set a = 1 %}{% if t %}{% set a = 2 %}{% endif %}{{ a }}", "{% for i in l %}{{ a }}{% set a = i %}{{ a }}{% endfor %}", "{% set ns = namespace(a=0, b='x') %}{% for i in l %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}", "{% set d.b = 2 %}", "{% set zz.a = 2 %}", "{% set n = n + 1 %}{{ n }}", "{% set a = [1] %}{% set a = a + [2] %}{{ a }}", "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns.x.x is defined }}", "{% set ns = namespace(l=[]) %}{% for i in l %}{% set ns.l = ns.l + [i * 2] %}{% endfor %}{{ ns.l }}", "{% set ns = namespace() %}{% set ns._x = 1 %}", "{% set a = 'x' if t else 'y' %}{{ a }}",
    "{% macro m(a, b=2) %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(b=4, a=5) }} {{ m() }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(c=2) }}", "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}", "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}in{{ n }}{% endcall %}", "{% macro m() %}<{{ caller(1) }}>{% endmacro %}{% call(a) m() %}in{{ a }}{% endcall %}", "{% macro f(i) %}{% if i > 0 %}{{ i }}{{ f(i - 1) }}{% endif %}{% endmacro %}{{ f(4) }}", "{% macro m() %}{{ n }}{% set n = 1 %}{% endmacro %}{{ m() }}{{ n }}", "{% macro m(a) %} {{ a }} {% endmacro %}[{{ m('x') | trim }}]", "{% macro m(a) -%}\n {{ a }}\n{%- endmacro %}{{ m('x') }}", "{% macro m(a, b=a) %}{{ b }}{% endmacro %}{{ m(1) }}", "{{ m() }}{% macro m() %}{% endmacro %}", "{% macro m(a) %}{{ a is defined }}{% endmacro %}{{ m() }}", "{% set v = 5 %}{% macro m() %}{{ v }}{% endmacro %}{% set v = 6 %}{{ m() }}", "{% macro m(x) %}{{ x.a }}{% endmacro %}{{ m({'a': 1}) }}{{ m.name }}", "{% macro m(l) %}{% for i in l %}{{ i }}{% endfor %}{% endmacro %}{{ m(*[l]) }}{{ m(**{'l': l}) }}",
    "{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q == 1 }}", "{% filter upper %}a{{ s }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}aa{% endfilter %}", "{% do 1 + 1 %}x", "{% do l.append(1) %}", "{% generation %}a{{ n }}{% endgeneration %}b", "{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}", "{% set j = joiner(', ') %}{% for i in l %}{{ j() }}{{ i }}{% endfor %}", "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}", "{{ loop }}", "{% for i in l recursive %}{{ i }}{% endfor %}x" if False else "{{ loop is defined }}",
    "{{ l | map('upper') | join }}", "{{ users | map(attribute='name') | map('lower') | select('in', ['ann', 'cy']) | join(' ') }}", "{{ 'a' if loop is defined else 'b' }}", "{{ s | replace('o', '0') | upper | trim('D') }}", "{% for u in users | sort(attribute='name') %}{{ u.name }}{{ ', ' if not loop.last }}{% endfor %}", "{{ (users | first).name }}{{ (users | last)['name'] }}", "{{ users | selectattr('age', 'eq', 30) | map(attribute='name') | list | tojson }}", "{% set m = {'a': {'b': [1, {'c': 'deep'}]}} %}{{ m.a.b[1].c }}{{ m['a']['b'][0] }}", "{% for a in users %}{% for k, v in a | items %}{{ k }}:{{ v }};{% endfor %}{% endfor %}", "{% if 'x' in users[0] and users[0].x is mapping %}y{% endif %}", "{{ '\\n'.join(words) }}", "{{ \"a\\nb\" | tojson }}", "{{- n }}{#- x -#} {{ n -}} ", "{% if s.split(',')[-1].strip() == 'World' %}ok{% endif %}", "{{ {'a': 1, **d} }}", "{{ [*l] }}", "{{ n @ 2 }}", "{{ n; }}", "{{ a.b.c }}", "{{ 'unfinished }}", "{{ 1.5.x }}", "{{ 1 2 }}", "{% set %}", "{% for %}{% endfor %}", "{{ }}", "{% macro %}{% endmacro %}", "{% else %}", "{{ l[ }}", "{{ l] }}", "{{ n | }}", "{{ n is }}", "{{ n.}}", "{{ .n }}", "{% if n = 7 %}{% endif %}",
]

SNIPPETS = list(dict.fromkeys(["{{ %s }}" % e for e in expressions()] + ["{{ %s }}" % e.strip() for e in filters()] + STATEMENTS))

TOOLS = [{"type": "function", "function": {"name": "weather", "description": "The weather <now> & then.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "description": "Où?"}, "days": {"type": "integer", "enum": [1, 2]}},
    "required": ["city"]}}}]

CALL = [{"type": "function", "id": "call_1", "function": {"name": "weather", "arguments": {"city": "Zürich", "days": 2}}}]
MESSAGE_SETS = {
    "empty": [[], False],
    "user": [[{"role": "user", "content": "Hi"}], False],
    "turns": [[{"role": "system", "content": " Be brief. "}, {"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2\n"},
               {"role": "user", "content": "Grüße 漢字 🌊 <|im_end|> \"quoted\" {{ x }}"}], False],
    "wrong order": [[{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}], False],
    "null content": [[{"role": "user", "content": None}, {"role": "assistant", "content": ""}], False],
    "tools": [[{"role": "system", "content": "Use tools."}, {"role": "user", "content": "Weather?"}], True],
    "tool calls": [[{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": None, "tool_calls": CALL},
                    {"role": "tool", "name": "weather", "tool_call_id": "call_1", "content": "{\"sun\": true}"},
                    {"role": "assistant", "content": "Sunny."}, {"role": "user", "content": "Thanks"}], True],
    "thinking": [[{"role": "user", "content": "a"}, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nb"}, {"role": "user", "content": "c"},
                  {"role": "assistant", "content": "d", "reasoning": "because"}], False],
    "parts": [[{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "image"}, {"type": "text", "text": "two"}]}], False],
}

TEMPLATES = {
    "chatml": "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "chatml with default system": "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou help.<|im_end|>\\n' }}{% endif %}<|im_start|>{{ message.role }}\n{% if message.role == 'assistant' %}{% generation %}{{ message.content }}<|im_end|>{% endgeneration %}{% else %}{{ message.content }}<|im_end|>{% endif %}\n\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    "llama 2": "{% if messages and messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate user/assistant/user/assistant') }}{% endif %}{% if loop.index0 == 0 and system_message is not false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "llama 3 with tools": """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{#- The system message comes first. #}
{%- if messages and messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}{{- "Environment: ipython\\n" }}{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none %}
    {{- "You have these functions:\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls | length == 1 %}
            {{- raise_exception("One tool call at a time.") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", "parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- else %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable and message.content is not string %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
""",
    "qwen 3": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages | length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages | length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\\n' }}
                {%- endif %}
                {%- if tool_call.function %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '<tool_call>\\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}""",
    "mistral": """{%- if messages and messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("Roles must alternate") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val | tojson }}
                    {%- endif %}
                    {%- if not loop.last %}{{- ", " }}{%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function | tojson %}
            {{- out[:-1] }}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"] | trim + eos_token }}
    {%- elif message["role"] == "tool" %}
        {{- '[TOOL_RESULTS] {"content": ' + message.content | string + "}[/TOOL_RESULTS]" }}
    {%- else %}
        {{- raise_exception("Only user, assistant and tool roles") }}
    {%- endif %}
{%- endfor %}
""",
    "gemma": "{{ bos_token }}{% if messages and messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' }}{% if message.content is string %}{{ message['content'] | trim }}{% elif message.content is iterable %}{% for item in message['content'] %}{% if item['type'] == 'image' %}{{ '<image>' }}{% elif item['type'] == 'text' %}{{ item['text'] | trim }}{% endif %}{% endfor %}{% endif %}{{ '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}",
    "zephyr": "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    "deepseek": "{% set ns = namespace(is_first=false, is_tool=false, system_prompt='') %}{% for message in messages %}{% if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{% endif %}{% endfor %}{{ bos_token }}{{ ns.system_prompt }}{% for message in messages %}{% if message['role'] == 'user' %}{% set ns.is_tool = false %}{{ '<｜User｜>' ~ message['content'] }}{% endif %}{% if message['role'] == 'assistant' and message['content'] is not defined %}{% for tool in message['tool_calls'] %}{{ '<｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name'] + '\\n```json\\n' + tool['function']['arguments'] | tojson + '\\n```' }}{% endfor %}{{ '<｜end▁of▁sentence｜>' }}{% elif message['role'] == 'assistant' %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{ '<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>' }}{% endif %}{% if message['role'] == 'tool' %}{% set ns.is_tool = true %}{{ '<｜tool▁output｜>' + message['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt and not ns.is_tool %}{{ '<｜Assistant｜>' }}{% endif %}",
    "with macros": """{%- macro type_of(spec) %}
{%- if spec.type == "string" %}{{- "str" }}{%- elif spec.type == "integer" %}{{- "int" }}{%- else %}{{- "Any" }}{%- endif %}
{%- endmacro %}
{%- macro signature(tool) -%}
{{ tool.name }}(
{%- for name, spec in tool.parameters.properties | dictsort %}
{{- name }}: {{ type_of(spec) }}{% if name not in tool.parameters.required %} = None{% endif %}{{ ", " if not loop.last }}
{%- endfor -%}
)
{%- endmacro %}
{%- for tool in tools or [] %}
{{ signature(tool.function) }}  # {{ tool.function.description }}
{%- endfor %}
{% for m in messages if m.content is defined %}
<|{{ m.role | upper }}|>{{ m.content if m.content is string else (m.content | selectattr("type", "equalto", "text") | map(attribute="text") | join(" ")) }}
{% endfor %}
{% if add_generation_prompt %}<|ASSISTANT|>{% endif %}""",
}
