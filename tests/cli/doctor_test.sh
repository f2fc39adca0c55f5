#!/usr/bin/env bash
# fledge doctor: for people and as JSON.
. "$(dirname "$0")/check.sh"

run doctor
expect_code 0
for word in "instruction sets" AMX cores memory "huge pages" oneDNN "What this means for speed"; do
  expect_in out "$word"
done

# The JSON is one object that a JSON reader takes: fledge's own reader has no verb, so the shape is checked by hand. A
# value is a string, a number, a word, or brackets whose content has been reduced to nothing before.
run doctor --json
expect_code 0
[ -z "$err" ] || fail "doctor --json wrote to standard error: $err"
text=$(tr -d '\n' <<<"$out" | sed -E 's/"([^"\\]|\\.)*"/S/g; s/-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?/V/g; s/true|false|null/V/g; s/[ ]//g')
while :; do
  reduced=$(sed -E 's/\{(S:[SV](,S:[SV])*)?\}/V/g; s/\[([SV](,[SV])*)?\]/V/g' <<<"$text")
  [ "$reduced" != "$text" ] || break
  text=$reduced
done
[ "$text" = V ] || fail "not one JSON value: $text"
for key in version processor instruction_sets native_bf16 amx_permitted cores threads memory huge_pages libraries findings; do
  expect_in out "\"$key\":"
done

# The number of threads follows the flag, and the instruction set its variable.
run doctor --threads 1 --json
expect_in out '"threads": 1'
FLEDGE_INSTRUCTION_SET=baseline run doctor --json
expect_code 0
expect_in out '"instruction_set": "baseline"'
expect_in out '"native_bf16": false'
expect_in out "FLEDGE_INSTRUCTION_SET=baseline holds fledge back"
FLEDGE_INSTRUCTION_SET=fastest run doctor
expect_code 2
expect_sentence "FLEDGE_INSTRUCTION_SET"
finish
