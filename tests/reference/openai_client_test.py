#!/usr/bin/env python3
"""The official openai client, unchanged, against a running server: openai_client_test.py http://127.0.0.1:8080/v1

Run by hand (pip install openai); any chat model will do, such as the one of make_tiny_chat_model.py."""

import json
import sys

import openai


def main():
    client = openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[2] if len(sys.argv) > 2 else "none", max_retries=0)
    model = client.models.list().data[0].id
    messages = [{"role": "user", "content": [{"type": "text", "text": "Say something."}]}]
    common = {"model": model, "messages": messages, "seed": 1, "max_completion_tokens": 24}

    whole = client.chat.completions.create(**common, n=2, logprobs=True, top_logprobs=3)
    assert len(whole.choices) == 2 and whole.usage.completion_tokens <= 48
    assert all(len(token.top_logprobs) == 3 for token in whole.choices[0].logprobs.content)

    parts, usage, finish = [], None, None
    for chunk in client.chat.completions.create(**common, stream=True, stream_options={"include_usage": True}):
        if chunk.choices:
            parts.append(chunk.choices[0].delta.content or "")
            finish = chunk.choices[0].finish_reason or finish
        usage = chunk.usage or usage
    assert finish in ("stop", "length") and usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert "".join(parts) == whole.choices[0].message.content, "a seed gives the same text, streamed or not"

    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"],
              "additionalProperties": False}
    held = client.chat.completions.create(model=model, messages=messages, max_tokens=200, response_format={
        "type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}})
    assert isinstance(json.loads(held.choices[0].message.content)["ok"], bool)

    tool = {"type": "function", "function": {"name": "set_lamp", "parameters": {
        "type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"],
        "additionalProperties": False}}}
    called = client.chat.completions.create(model=model, messages=messages, max_tokens=200, tools=[tool],
                                            tool_choice={"type": "function", "function": {"name": "set_lamp"}})
    call = called.choices[0].message.tool_calls[0]
    assert called.choices[0].finish_reason == "tool_calls" and call.function.name == "set_lamp"
    assert isinstance(json.loads(call.function.arguments)["on"], bool)

    text = client.completions.create(model=model, prompt="ab", max_tokens=3, echo=True, logprobs=2)
    assert text.choices[0].text.startswith("ab") and text.choices[0].logprobs.token_logprobs[0] is None
    assert len(text.choices[0].logprobs.tokens) >= 2

    try:
        client.chat.completions.create(model="nothing", messages=messages)
        raise AssertionError("an unknown model was accepted")
    except openai.NotFoundError as error:
        assert error.code == "model_not_found"
    try:
        client.completions.create(model=model, prompt="word " * 200000)
        raise AssertionError("a prompt beyond the context was accepted")
    except openai.BadRequestError as error:
        assert error.code == "context_length_exceeded" and "tokens" in str(error)
    print("all checks passed")


if __name__ == "__main__":
    main()
