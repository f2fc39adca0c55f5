"""Writes tests/reference/data/jinja/: snippets and chat templates, and what Jinja makes of them.

    python3 -m pip install transformers jinja2
    python3 tests/reference/make_jinja_data.py

snippets.json holds [template, output] pairs, the output null where Jinja refuses the template or its rendering; all
see the variables of VARIABLES. templates.json holds chat templates written in the manner of well-known families, with
sets of messages and what transformers renders. The environment is that of transformers' apply_chat_template, with the
extension `do` added.
"""
import json
import pathlib

import transformers.utils.chat_template_utils as chat

from jinja_cases import MESSAGE_SETS, SNIPPETS, TEMPLATES, TOOLS, VARIABLES

FOLDER = pathlib.Path(__file__).resolve().parent / "data" / "jinja"


def environment_of(source):
    import jinja2.ext
    template = chat._compile_jinja_template("")
    environment = template.environment
    environment.add_extension(jinja2.ext.do)
    return environment.from_string(source)


def snippet(source):
    try:
        return environment_of(source).render(**VARIABLES)
    except Exception:
        return None


def rendering(source, messages, tools, prompt):
    try:
        texts, spans = chat.render_jinja_template(
            [chat._normalize_chat_messages(messages)], tools=tools, chat_template=source, add_generation_prompt=prompt,
            return_assistant_tokens_mask="generation %}" in source or "generation -%}" in source,
            bos_token="<s>", eos_token="</s>")
        text = texts[0]
        # Spans count characters there and bytes here.
        spans = [[len(text[:begin].encode()), len(text[:end].encode())] for begin, end in (spans or [[]])[0]]
        return {"text": text, "generation": spans}
    except Exception:
        return None


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    cases = [[source, snippet(source)] for source in SNIPPETS]
    # An address in memory is another one each time.
    snippets = {"variables": VARIABLES, "cases": [case for case in cases if " at 0x" not in (case[1] or "")]}
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in snippets["cases"])
    text = '{"variables": ' + json.dumps(VARIABLES, ensure_ascii=False) + ',\n"cases": [\n' + lines + "\n]}\n"
    (FOLDER / "snippets.json").write_text(text)
    cases = []
    for name, source in TEMPLATES.items():
        for set_name, (messages, with_tools) in MESSAGE_SETS.items():
            for prompt in (False, True):
                tools = TOOLS if with_tools else None
                cases.append([name, set_name, prompt, rendering(source, messages, tools, prompt)])
    content = {"templates": TEMPLATES, "messages": MESSAGE_SETS, "tools": TOOLS, "cases": cases}
    (FOLDER / "templates.json").write_text(json.dumps(content, ensure_ascii=False, indent=0) + "\n")
    refused = sum(case[1] is None for case in snippets["cases"])
    print(f"{len(snippets['cases'])} snippets ({refused} refused), {len(cases)} renderings "
          f"({sum(case[3] is None for case in cases)} refused)")


if __name__ == "__main__":
    main()
