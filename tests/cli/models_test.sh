#!/usr/bin/env bash
# fledge import, export, quantize and show: a model made by fledge train goes out and comes back.
. "$(dirname "$0")/check.sh"
small_tokenizer 300 300
cat >recipe.toml <<'RECIPE'
precision = "f32"
steps = 4
[model]
family = "qwen3"
n_layer = 2
n_head = 2
n_kv_head = 1
n_embd = 64
n_positions = 64
[data]
text = ["text.txt"]
tokenizer = "tokenizer"
val_fraction = 0.2
[batch]
sequences = 2
sequence_length = 32
[run]
out = "run"
RECIPE
run train recipe.toml
expect_code 0
model=$(dirname "$(find run -name model.safetensors | sort | tail -n 1)")

# logits MODEL: the checksum of its logits.
logits() {
  run logits "$1" --ids 1,2,3,250,17 --out logits.safetensors
  expect_code 0
  sum=$(cksum <logits.safetensors)
}
logits "$model"
original=$sum

run export run --to gguf --out model.gguf
expect_code 0
expect_not_in out "instead of"
logits model.gguf
[ "$sum" = "$original" ] || fail "the GGUF file gives other logits"
run import model.gguf --out again
expect_code 0
for file in config.json generation_config.json model.safetensors tokenizer.json tokenizer_config.json; do
  [ -s "again/$file" ] || fail "no again/$file"
done
logits again
[ "$sum" = "$original" ] || fail "the folder made of the GGUF file gives other logits"
run export again --to hf --out copy
expect_code 0
logits copy
[ "$sum" = "$original" ] || fail "the copied folder gives other logits"
for place in tokenizer model.gguf again; do
  run tokenizer encode "$place" --text "the 7 seas, émigré"
  expect_code 0
  [ "${ids:=$out}" = "$out" ] || fail "$place gives other tokens"
done
run show model.gguf
expect_code 0
expect_in out qwen3

# Rows of 64 elements fill blocks of 32 and none of 256.
run quantize again --type q4_k --out k.gguf --text text.txt --json
expect_code 0
python3 -c 'import json, sys
report = json.load(open(sys.argv[1]))
used = {(entry["wanted"], entry["used"]): entry for entry in report["fallbacks"]}
assert set(used) == {("Q4_K", "Q5_0"), ("Q6_K", "Q8_0")}, used
assert used["Q4_K", "Q5_0"]["block_elements"] == 256 and "blk.1.attn_q.weight" in used["Q4_K", "Q5_0"]["tensors"]
assert report["bytes_after"] < report["bytes_before"]
assert abs(report["perplexity_after"] / report["perplexity_before"] - 1) < 0.05, report' "$work/out" || fail "report: $out"
run quantize again --type q4_k --out k.gguf
expect_in out "Q5_0 instead of Q4_K, whose blocks of 256 do not divide rows of 64"
run generate k.gguf --prompt "Line" --max-tokens 5 --temperature 0
expect_code 0
# What guesses ahead changes nothing.
for seed in 1 2; do
  run generate again --prompt "Line" --max-tokens 12 --seed "$seed"
  plain=$out
  for draft in k.gguf again lookup; do
    run generate again --draft "$draft" --prompt "Line" --max-tokens 12 --seed "$seed" --json
    expect_code 0
    python3 -c 'import json, sys
report = json.load(open(sys.argv[1]))
assert report["prompt"] + report["text"] == sys.argv[2].rstrip("\n"), report
assert 0 <= report["drafts"]["right"] <= report["drafts"]["guessed"], report
assert report["drafts"]["guessed"] > 0 or sys.argv[3] == "lookup", report' "$work/out" "$plain" "$draft" ||
      fail "--draft $draft: $out"
  done
done
run generate again --draft nowhere --prompt "Line"
expect_code 1
expect_sentence nowhere
run quantize k.gguf --type q8_0
expect_code 0
expect_not_in out "instead of"
[ -s k.q8_0.gguf ] || fail "the default name is not k.q8_0.gguf"

# Names in the store.
export XDG_DATA_HOME=$work/data
mkdir -p "$work/data/fledge/models"
cp -r again "$work/data/fledge/models/seas"
run export seas --to gguf --type bf16 --out seas.gguf
expect_code 0
[ -s seas.gguf ] || fail "nothing was written"

run export nowhere --to gguf --out x.gguf
expect_code 1
expect_sentence nowhere
run export model.gguf --to gguf --out model.gguf
expect_code 2
expect_sentence "is the model itself"
run quantize model.gguf --type q5_k
expect_code 2
run export again --to hf --type q4_0 --out x
expect_code 2
expect_sentence "--to gguf"
head -c 1000 model.gguf >cut.gguf
run import cut.gguf --out x
expect_code 1
expect_sentence "cut.gguf"
[ ! -e x ] || fail "a failed import left something behind"
finish
