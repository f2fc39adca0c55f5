#!/usr/bin/env bash
# From a base model to one that answers and prefers: inspecting chats, fine-tuning, preferences, exact resume.
. "$(dirname "$0")/check.sh"

small_data 300 320
cat >base.toml <<'RECIPE'
precision = "f32"
steps = 10
[model]
n_layer = 2
n_head = 2
n_embd = 32
n_positions = 128
[data]
path = "data"
[optimizer]
learning_rate = 3e-3
[batch]
sequences = 4
sequence_length = 64
[run]
seed = 3
RECIPE
run train base.toml
expect_code 0

# Chats in OpenAI's form, one of them broken, one without an end.
for number in $(seq 1 120); do
  echo "{\"messages\": [{\"role\": \"user\", \"content\": \"number $((number % 7))\"}, {\"role\": \"assistant\", \"content\": \"the sea\"}]}"
done >chats.jsonl
sed 's/the sea/the seas/' chats.jsonl >other.jsonl
echo '{"messages": [' >>chats.jsonl
echo '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]}' >>chats.jsonl

run data inspect chats.jsonl --model runs/base
expect_code 1
expect_sentence "has no chat template"
run data inspect chats.jsonl --model runs/base --template chatml
expect_code 1
expect_sentence 'data.add_tokens = ["<|im_start|>", "<|im_end|>"]'
run data inspect chats.jsonl --model runs/base --template chatml --add-tokens '<|im_start|>' '<|im_end|>' --examples 1
expect_code 0
expect_in out "[[the sea<|im_end|>]]"
expect_in out "122 records of the form messages: 121 sequences"
expect_in out "answers end with <|im_end|>"
expect_in out "1 records cannot be used and are skipped"
expect_in out "chats.jsonl, line 121: the record: not valid JSON"
run data inspect chats.jsonl --model runs/base --template zephyr --examples 1 --json
expect_code 0
expect_in out '"trained": true'
in_terminal "$fledge" data inspect chats.jsonl --model runs/base --template zephyr --examples 1
expect_in out $'\033['

cat >sft.toml <<'RECIPE'
precision = "f32"
steps = 40
[model]
path = "runs/base"
[data]
path = "chats.jsonl"
add_tokens = ["<|im_start|>", "<|im_end|>"]
[chat]
template = "chatml"
[objective]
kind = "chat"
[optimizer]
learning_rate = 1e-2
[batch]
sequences = 4
sequence_length = 96
micro_sequences = 2
[evaluation]
every = 20
[samples]
every = 20
prompts = ["number 3"]
temperature = 0.0
[checkpoints]
every = 20
keep_last = 10
RECIPE
for command in "train sft.toml --strict --set run.out=strict" \
  "data inspect chats.jsonl --strict --model runs/base --template zephyr"; do
  run $command
  expect_code 1
  expect_sentence "chats.jsonl, line 121"
done
run train sft.toml --dry-run
expect_code 0
kept=$(grep -i activations <<<"$out")
run train sft.toml --dry-run --set recompute=blocks
expect_code 0
[ "$kept" != "$(grep -i activations <<<"$out")" ] || fail "the plan does not show what recomputing saves: $out"
run train sft.toml
expect_code 0
expect_in err "1 records were skipped"
# Samples are answers, through the template and up to the end of a turn.
expect_in err "step 20, sample: number 3 -> the sea"
grep -q '"sample":"the sea"' runs/sft/metrics.jsonl || fail "the sample is no answer: $(grep sample runs/sft/metrics.jsonl)"
checkpoint=runs/sft/checkpoints/step-000040
for file in model.safetensors tokenizer.json tokenizer_config.json chat_template.jinja generation_config.json; do
  [ -s "$checkpoint/$file" ] || fail "the trained model has no $file"
done
grep -q '"vocab_size": 322' "$checkpoint/config.json" || fail "the embedding did not grow"
grep -q '321' "$checkpoint/generation_config.json" || fail "the end of a turn does not end generation"
run chat runs/sft --temperature 0 "number 3"
expect_code 0
[ "$out" = "the sea" ] || fail "the model did not learn to answer and to stop: $out"

# Recomputing blocks, and stopping in the middle, give the same bytes.
run train sft.toml --set recompute=blocks --set run.out=again
expect_code 0
cmp -s "again/checkpoints/step-000040/model.safetensors" "$checkpoint/model.safetensors" || fail "recomputing changes the result"
cp -r again resumed
rm -r resumed/checkpoints/step-000040
run train sft.toml --set run.out=resumed --resume
expect_code 0
cmp -s "resumed/checkpoints/step-000040/model.safetensors" "$checkpoint/model.safetensors" || fail "a resumed run differs"

# Preferences: the other answer wins.
for number in $(seq 1 60); do
  echo "{\"prompt\": \"number $((number % 7))\", \"chosen\": \"the text\", \"rejected\": \"the sea\"}"
done >pairs.jsonl
echo '{"prompt": "a", "chosen": "b", "rejected": "b"}' >>pairs.jsonl
cat >dpo.toml <<'RECIPE'
precision = "f32"
steps = 30
[model]
path = "runs/sft"
[data]
path = "pairs.jsonl"
[objective]
kind = "dpo"
[optimizer]
learning_rate = 1e-3
[batch]
sequences = 2
sequence_length = 96
[evaluation]
every = 10
[checkpoints]
every = 10
keep_last = 10
RECIPE
for kind in dpo orpo kto; do
  run train dpo.toml --set objective.kind=$kind --set run.out=$kind
  expect_code 0
  expect_in err "1 preferences with equal answers were skipped"
done
[ -s dpo/reference.safetensors ] || fail "the reference is not kept"
[ ! -e orpo/reference.safetensors ] || fail "orpo needs no reference"
grep -q '"validation_rewards_accuracy":1.0' dpo/metrics.jsonl || fail "the chosen answers do not win: $(tail -3 dpo/metrics.jsonl)"
run train dpo.toml --set objective.kind=orpo --set run.out=longer --set steps=60 --set optimizer.learning_rate=3e-3
expect_code 0
run chat longer --temperature 0 "number 3"
[ "$out" = "the text" ] || fail "the preferred answer is not given: $out"
cp -r dpo dpo_resumed
rm -r dpo_resumed/checkpoints/step-0000{20,30}
run train dpo.toml --set run.out=dpo_resumed --resume
expect_code 0
cmp -s dpo_resumed/checkpoints/step-000030/model.safetensors dpo/checkpoints/step-000030/model.safetensors || fail "a resumed preference run differs"

# Preferences are measured on a file of their own.
head -20 pairs.jsonl >held_out.jsonl
run train dpo.toml --set data.val_path=held_out.jsonl --set run.out=held-out
expect_code 0
expect_in err "60 pairs in"

# Preferences over an adapter: where it begins as nothing, the base is the reference; where it goes on from another one,
# that one is. In both the model is its own reference at the start, so the first loss is log 2.
run train sft.toml --set model=runs/sft --set 'data.add_tokens=[]' --set chat.template= --set adapter.kind=lora \
  --set adapter.rank=4 --set optimizer.learning_rate=3e-2 --set data=other.jsonl --set run.out=lora
expect_code 0
for from in "adapter.kind=lora" "adapter.from=lora"; do
  name=dpo-${from#adapter.}
  run train dpo.toml --set "$from" --set adapter.rank=4 --set optimizer.learning_rate=1e-2 --set run.out="$name"
  expect_code 0
  head -1 "$name/metrics.jsonl" | grep -q '"loss":0.6931' || fail "$name: the reference is not the model: $(head -1 "$name/metrics.jsonl")"
  grep -q '"validation_rewards_accuracy":1.0' "$name/metrics.jsonl" || fail "$name: the chosen answers do not win: $(tail -3 "$name/metrics.jsonl")"
  [ -s "$name/checkpoints/step-000030/adapter_model.safetensors" ] || fail "$name holds no adapter"
  cp -r "$name" resumed-$name
  rm -r resumed-$name/checkpoints/step-0000{20,30}
  run train dpo.toml --set "$from" --set adapter.rank=4 --set optimizer.learning_rate=1e-2 --set run.out="resumed-$name" --resume
  expect_code 0
  cmp -s "resumed-$name/checkpoints/step-000030/adapter_model.safetensors" "$name/checkpoints/step-000030/adapter_model.safetensors" ||
    fail "$name: a resumed run differs"
done
cmp -s dpo-kind=lora/reference.safetensors dpo-from=lora/reference.safetensors && fail "both have the same reference"
run train dpo.toml --set adapter.from=nowhere --set run.out=wrong
expect_code 2
expect_sentence "adapter.from"

# Some of the parameters alone.
run train sft.toml --set model=runs/sft --set 'data.add_tokens=[]' --set chat.template= --set 'model.train_only=["h.1", "ln_f"]' --set run.out=some
expect_code 0
expect_in err "trained)"
python3 - some/checkpoints/step-000040/model.safetensors $checkpoint/model.safetensors <<'PYTHON' || fail "not the chosen parameters were trained"
import json, struct, sys
def tensors(name):
    data = open(name, "rb").read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {key: data[8 + size + value["data_offsets"][0]:8 + size + value["data_offsets"][1]] for key, value in header.items()}
after, before = tensors(sys.argv[1]), tensors(sys.argv[2])
changed = {key for key in after if after[key] != before[key]}
assert changed == {key for key in after if ".h.1." in "." + key or "ln_f" in key}, changed
PYTHON
run train sft.toml --set 'model.train_only=["ln_ff"]' --set run.out=wrong
expect_code 2
expect_sentence "did you mean ln_f?"

# Mistakes, each one sentence.
run train base.toml --set data.val_path=held_out.jsonl --set run.out=wrong
expect_code 2
expect_sentence "data.val_path"
run train dpo.toml --set data=chats.jsonl --set run.out=wrong
expect_code 1
expect_sentence "no preferences"
run train sft.toml --set chat.template=none --set run.out=wrong
expect_code 2
expect_sentence "chat.template"
run train base.toml --set objective.kind=chat --set run.out=wrong
expect_code 2
expect_sentence "needs model.path"
run train sft.toml --set batch.sequence_length=4 --set run.out=wrong
expect_code 1
expect_sentence "no answer fits"
finish
