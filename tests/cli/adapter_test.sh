#!/usr/bin/env bash
# Adapters from the command line: trained and resumed exactly, used, weighted, merged, served, and refused in clear words.
. "$(dirname "$0")/check.sh"

small_data 400 300
cat >base.toml <<'RECIPE'
precision = "f32"
steps = 4
[model]
family = "llama"
n_layer = 2
n_head = 2
n_embd = 64
n_positions = 64
[data]
path = "data"
[batch]
sequences = 4
sequence_length = 32
[run]
out = "base-run"
RECIPE
run train base.toml
expect_code 0
cp -r base-run/checkpoints/step-000004 base
rm base/optimizer.safetensors base/trainer.json
before=$(cksum base/*)

cat >adapter.toml <<'RECIPE'
precision = "f32"
steps = 8
[model]
path = "base"
[data]
path = "data"
[adapter]
kind = "dora"
rank = 4
alpha = 8
dropout = 0.1
[optimizer]
learning_rate = 1e-2
[batch]
sequences = 4
sequence_length = 32
[evaluation]
every = 4
[samples]
every = 3
prompts = ["Line"]
max_tokens = 8
[checkpoints]
every = 2
keep_last = 1000
[run]
seed = 3
RECIPE

same_checkpoint() {
  for file in adapter_model.safetensors adapter_config.json optimizer.safetensors trainer.json; do
    cmp -s "$1/checkpoints/step-000008/$file" "$2/checkpoints/step-000008/$file" || fail "$1 and $2 differ in $file"
  done
}

run train adapter.toml --set run.out=whole
expect_code 0
expect_in err 'trained)'
last=whole/checkpoints/step-000008
[ ! -e $last/model.safetensors ] || fail "the checkpoint holds the base"
grep -q '"use_dora": true' $last/adapter_config.json || fail "no DoRA in the configuration"
grep -q '"q_proj"' $last/adapter_config.json || fail "the targets are not named"
[ "$(stat -c %s $last/optimizer.safetensors)" -lt 200000 ] || fail "the optimizer's state holds more than the adapter's"
[ "$before" = "$(cksum base/*)" ] || fail "the base was changed"
# Going on from the middle ends with the same bytes.
cp -r whole resumed
rm -rf resumed/checkpoints/step-000008 resumed/checkpoints/step-000006
run train adapter.toml --set run.out=resumed --resume
expect_code 0
same_checkpoint whole resumed
# A quantized base: less memory, and it learns.
run train adapter.toml --set run.out=quantized --set adapter.base=q4_0 --set adapter.kind=rslora --set precision=auto
expect_code 0
run train adapter.toml --set run.out=quantized-dora --set adapter.base=q8_0 --set precision=auto
expect_code 0
run train adapter.toml --dry-run --json
expect_code 0
expect_in out '"trained_parameters"'

# Used: the adapter, half of it, the run itself, twice with opposite weights.
ids() {
  run logits "$1" --ids 1,2,3,4 --out "$2.safetensors" "${@:3}"
  expect_code 0
}
ids base plain
ids base adapted --adapter whole
ids whole itself
ids base half --adapter whole=0.5
cmp -s adapted.safetensors itself.safetensors || fail "the run is not base and adapter"
cmp -s adapted.safetensors plain.safetensors && fail "the adapter changes nothing"
cmp -s adapted.safetensors half.safetensors && fail "half of the adapter is all of it"
ids base none --adapter whole=0
cmp -s none.safetensors plain.safetensors || fail "nothing of the adapter is something"
run generate base --adapter quantized --prompt Line --max-tokens 4
expect_code 0
run eval base --adapter whole --perplexity text.txt --json
expect_code 0

# Merged: into a folder, and into blocks with the error that this makes.
run merge base whole quantized=0.5 --out merged --json
expect_code 0
expect_in out '"layers":14'
[ -s merged/tokenizer.json ] || fail "the tokenizer was left behind"
ids merged merged-logits
ids base both --adapter whole --adapter quantized=0.5
python3 - <<'PYTHON' || fail "merged and unmerged differ"
import struct
def values(name):
    data = open(name, "rb").read()
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    return struct.unpack(f"<{(len(data) - begin) // 4}f", data[begin:])
a, b = values("merged-logits.safetensors"), values("both.safetensors")
error = sum((x - y) ** 2 for x, y in zip(a, b)) ** 0.5 / sum(y * y for y in b) ** 0.5
assert len(a) == len(b) and error < 3e-6, error
PYTHON
run export base --to gguf --type q8_0 --out base.gguf
expect_code 0
run merge base.gguf whole --out merged.gguf --json
expect_code 0
expect_in out '"error_over_change"'
expect_in err 'rounds the changed weights again'
[ ! -e merged.gguf.merging ] || fail "the folder in between was left behind"
run generate merged.gguf --prompt Line --max-tokens 2
expect_code 0

# Refused.
run merge base whole --out base
expect_code 2
expect_sentence 'is the model itself'
run merge base whole --out blocks --weights q4_0
expect_code 2
expect_sentence '.gguf'
run generate base --adapter nowhere --prompt Line
expect_code 2
expect_sentence 'there is no such folder'
run train adapter.toml --set run.out=wrong --set 'adapter.targets=["q_prj"]'
expect_code 2
expect_sentence 'did you mean q_proj'
run train adapter.toml --set run.out=wrong --set 'adapter.targets=["lm_head"]'
expect_code 2
expect_sentence 'shares its weight'
run train adapter.toml --set run.out=wrong --set adapter.rank=65
expect_code 2
expect_sentence 'larger than the layer'
run train base.toml --set run.out=wrong --set adapter.kind=lora
expect_code 2
expect_sentence 'model.path'
run train adapter.toml --set run.out=resumed --resume --set adapter.alpha=9
expect_code 2
run serve base --adapter whole
expect_code 2
expect_sentence 'NAME=DIR'

# Served: three models over one base.
start_server base --adapter one=whole --adapter two=quantized --port 0 --no-chats --threads 1
curl -sS "${address}v1/models" >"$work/out"
out=$(cat "$work/out")
for name in base one two; do expect_in out "\"id\":\"$name\""; done
# answer MODEL: the tokens of a greedy answer.
answer() {
  curl -sS -m 60 "${address}v1/completions" \
    -d "{\"model\": \"$1\", \"prompt\": \"Line 7 of a\", \"max_tokens\": 12, \"temperature\": 0, \"logprobs\": 1}" |
    grep -o '"logprobs":.*"usage"'
}
for name in base one two; do answer $name >"$work/alone-$name"; done
cmp -s "$work/alone-base" "$work/alone-one" && fail "an adapter answers as the base"
cmp -s "$work/alone-one" "$work/alone-two" && fail "two adapters answer alike"
# All at once: each request gets what it gets alone.
pids=()
for round in 1 2 3; do
  for name in base one two; do
    answer $name >"$work/together-$name-$round" &
    pids+=($!)
  done
done
wait "${pids[@]}"
for round in 1 2 3; do
  for name in base one two; do
    cmp -s "$work/alone-$name" "$work/together-$name-$round" || fail "$name answers otherwise among others"
  done
done
finish
