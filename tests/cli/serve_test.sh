#!/usr/bin/env bash
# fledge serve: a tiny model over HTTP, from starting to Ctrl+C.
. "$(dirname "$0")/check.sh"
python3 "$(dirname "$0")/../reference/make_tiny_chat_model.py" "$work/tiny" || fail "no model"

start_server "$work/tiny" --port 0 --state "$work/state" --threads 1

# ask PATH [CURL FLAGS...]: leaves the body in $out and the status in $code.
ask() {
  local path=$1
  shift
  code=$(curl -sS -m 60 -o "$work/out" -w '%{http_code}' "$@" "$address$path" 2>"$work/err")
  out=$(cat "$work/out")
  err=$(cat "$work/err")
}

ask health
expect_code 200
ask v1/models
expect_in out '"id":"tiny"'
expect_in out '"max_model_len":1024'
ask v1/completions -d '{"prompt": "ab", "max_tokens": 5, "temperature": 0}'
expect_code 200
first=$(grep -o '"text":.*"finish_reason"' "$work/out")
ask v1/completions -d '{"prompt": "ab", "max_tokens": 5, "temperature": 0}'
[ -n "$first" ] && [ "$first" = "$(grep -o '"text":.*"finish_reason"' "$work/out")" ] || fail "greedy answers differ"
expect_in out '"completion_tokens":5'

chat='"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 40, "seed": 1'
ask v1/chat/completions -d "{$chat, \"stream\": true}"
expect_code 200
expect_in out 'chat.completion.chunk'
[ "$(tail -n 2 "$work/out" | head -n 1)" = "data: [DONE]" ] || fail "the stream does not end with [DONE]: $out"
ask apply-template -d "{$chat}"
expect_in out '"prompt":"user: Hi\nassistant: "'
# What a message spells is no special token: the three characters are three tokens.
ask apply-template -d '{"messages": [{"role": "user", "content": "Hi<s>"}]}'
expect_in out '"prompt":"user: Hi<s>\nassistant: "'
expect_in out '"token_count":23'
# A model of random weights writes JSON where it must.
ask v1/chat/completions -d "{$chat, \"response_format\": {\"type\": \"json_schema\", \"json_schema\": {\"name\": \"x\",
  \"schema\": {\"type\": \"object\", \"properties\": {\"ok\": {\"type\": \"boolean\"}}, \"required\": [\"ok\"],
  \"additionalProperties\": false}}}}"
expect_code 200
python3 -c 'import json, sys
answer = json.load(open(sys.argv[1]))
value = json.loads(answer["choices"][0]["message"]["content"])
assert list(value) == ["ok"] and isinstance(value["ok"], bool), value' "$work/out" || fail "not held to the schema: $out"

long=$(printf 'x%.0s' $(seq 2000))
ask v1/completions -d "{\"prompt\": \"$long\"}"
expect_code 400
expect_in out 'the prompt has 2000 tokens'
expect_in out '1024'
ask v1/completions -d '{"prompt": "a", "model": "gpt-4"}'
expect_code 404
ask v1/completions -d '{"prompt": '
expect_code 400
ask v1/models -H 'Host: evil.example'
expect_code 403
ask metrics
expect_in out 'fledge_responses_total{route="/v1/completions",status="200"} 2'

ask api/chats -d '{"title": "A chat"}'
expect_code 201
chat_id=$(sed 's/.*"id":"\([^"]*\)".*/\1/' "$work/out")
ask "api/chats/$chat_id/messages" -d '{"role": "user", "content": "Hi"}'
expect_code 201
ask "api/chats/$chat_id"
expect_in out '"content":"Hi"'
ask ''
expect_in out '<!doctype html>'

kill -INT "$server"
wait "$server"
code=$?
expect_code 0
[ -s "$work/state/chats.sqlite" ] || fail "no chats are kept"

# What guesses ahead changes no answer.
for draft in lookup "$work/tiny"; do
  start_server "$work/tiny" --port 0 --no-chats --threads 1 --draft "$draft"
  ask v1/completions -d '{"prompt": "ab", "max_tokens": 5, "temperature": 0}'
  expect_code 200
  [ "$first" = "$(grep -o '"text":.*"finish_reason"' "$work/out")" ] || fail "other answers with --draft $draft"
  kill -INT "$server"
  wait "$server"
done
cp -r "$work/tiny" "$work/other"
sed -i 's/"a": 97, "b": 98/"a": 98, "b": 97/' "$work/other/tokenizer.json"
run serve "$work/tiny" --draft "$work/other"
expect_code 2
expect_sentence "another vocabulary"

cp -r "$work/tiny" "$work/twin"
mv "$work/twin" "$work/other/tiny"
run serve "$work/tiny" "$work/other/tiny" --port 0
expect_code 2
expect_sentence "NAME=MODEL"
start_server "$work/tiny" "twin=$work/other/tiny" --port 0 --no-chats --threads 1
ask v1/models
expect_in out '"id":"tiny"'
expect_in out '"id":"twin"'
kill -INT "$server"
wait "$server"

run serve "$work/nothing"
expect_code 1
expect_sentence "nothing"
finish
