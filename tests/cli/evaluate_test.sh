#!/usr/bin/env bash
# Measuring: tasks of every kind, what is refused, and two models side by side.
. "$(dirname "$0")/check.sh"

small_data 400 300
cat >recipe.toml <<'RECIPE'
precision = "f32"
steps = 150
[model]
n_layer = 2
n_head = 2
n_embd = 32
n_positions = 128
[data]
path = "data"
[optimizer]
learning_rate = 1e-2
[batch]
sequences = 8
sequence_length = 64
[checkpoints]
every = 10
keep_last = 1000
[run]
seed = 3
out = "run"
RECIPE
run train recipe.toml
expect_code 0
trained=run/checkpoints/step-000150
fresh=run/checkpoints/step-000010

# A trained model knows how its text goes on; what it was never shown is a matter of chance.
cat >sea.jsonl <<'TASK'
{"context": "Line 7 of a little text about number 433 and the", "choices": ["sea, the sea", "qzx, kkj wv"], "gold": 0}
{"context": "Line 8 of a little text about", "choices": ["zzzz", "number"], "gold": "B"}
TASK
echo '{"context": "a little text about number 433 and the sea, the", "target": " sea"}' >next.jsonl
cat >write.jsonl <<'TASK'
{"task": {"template": "Line {n} of a little", "until": [" about"], "max_tokens": 20}}
{"n": 9, "answer": "text"}
TASK
head -c 2000 text.txt | sed 's/"//g' | tr '\n' ' ' | sed 's/^/{"text": "/; s/$/"}/' >whole.jsonl
run eval "$trained" --tasks sea.jsonl,next.jsonl,write.jsonl,whole.jsonl --answers answers.jsonl --json
expect_code 0
expect_in out '"sea":{"kind":"choice","examples":2,"acc":1.0,"acc_norm":1.0,"acc_bytes":1.0}'
expect_in out '"next":{"kind":"continuation","examples":1,"acc":1.0,'
expect_in out '"write":{"kind":"generation","examples":1,"exact_match":1.0,"ended":1.0}'
expect_in out '"whole":{"kind":"text","examples":1,"word_perplexity":'
[ "$(wc -l <answers.jsonl)" -eq 5 ] || fail "not an answer for each example: $(cat answers.jsonl)"
# The likelihood of a whole text is that of --perplexity, but for the first token.
bits=$(sed 's/.*"bits_per_byte":\([0-9.]*\)}.*/\1/' <<<"$out")
sed 's/^{"text": "//; s/"}$//' whole.jsonl | tr -d '\n' >whole.txt
run eval "$trained" --perplexity whole.txt --json
expect_code 0
awk -v a="$bits" -v b="$(sed 's/.*"bits_per_byte":\([0-9.]*\).*/\1/' <<<"$out")" \
  'BEGIN { if (a < b || a - b > 0.02) exit 1 }' || fail "bits per byte: task $bits, perplexity $out"
run eval "$trained" --tasks sea.jsonl --shots 1 --limit 1
expect_code 0
expect_in out "sea  (1 examples)"

# What is refused.
run eval "$trained"
expect_code 2
expect_sentence "nothing to measure"
echo '{"context": "a", "choices": ["b", "c"], "gold": 5}' >bad.jsonl
run eval "$trained" --tasks bad.jsonl
expect_code 1
expect_sentence "bad.jsonl:1: the right choice is 5, expected 0 to 1"
run eval "$trained" --tasks missing.jsonl
expect_code 1
expect_sentence "missing.jsonl"
run eval "$trained" --tasks sea.jsonl --chat
expect_code 2
expect_sentence "no chat template"

# Side by side.
echo "Line 5 of" >prompts.txt
echo '{"prompt": "Line 9 of a little", "rules": [{"rule": "contains", "value": "text"}]}' >prompts.jsonl
run compare "$fresh" "$trained" --text whole.txt --tasks sea.jsonl --prompts prompts.jsonl --max-tokens 8 \
  --html report.html --json
expect_code 0
expect_in out '"models":["step-000010","step-000150"]'
expect_in out '"rules kept":[0.0,100.0]'
for text in "<!doctype html>" "step-000150" "bits per byte" "holds &quot;text&quot;"; do
  grep -qF "$text" report.html || fail "the report lacks $text"
done
grep -qE '<script|src=|href=' report.html && fail "the report asks for something else"
run compare "$fresh" "$trained" --text whole.txt --no-answers --no-speed
expect_code 0
expect_in out "bits per byte"
expect_not_in out "Answers"
# Held-out conversations, for models with a chat template.
for step in 10 150; do
  cp -r run/checkpoints/step-000$(printf %03d $step) chat-$step
  sed -i '0,/{/s//{"chat_template": "{% for m in messages %}{{ m.content }} about{% endfor %}",/' chat-$step/tokenizer_config.json
done
echo '{"messages": [{"role": "user", "content": "Line 9 of a little text"}, {"role": "assistant", "content": " number 71 and the sea, the sea"}]}' >chats.jsonl
run compare chat-10 chat-150 --chats chats.jsonl --no-answers --no-speed --json
if [ "$code" -eq 0 ]; then
  sed 's/.*"loss of the assistant.s tokens":\[\([0-9.]*\),\([0-9.]*\)\].*/\1 \2/' <<<"$out" >losses
  awk '{ if (!($2 > 0 && $2 < $1)) exit 1 }' losses || fail "the trained model does not know the answer better: $out"
else
  fail "held-out chats are not scored: $err"
fi
run compare "$fresh" "$trained" --chats missing.jsonl --no-answers --no-speed
expect_code 1
expect_sentence "missing.jsonl"
run compare "$fresh"
expect_code 2
run compare "$fresh" "$trained" --prompts missing.txt
expect_code 1
expect_sentence "missing.txt"
finish
