#!/usr/bin/env bash
# Training from the command line: exact resume after SIGKILL and Ctrl+C, micro-batches, bad recipes, what a run leaves.
. "$(dirname "$0")/check.sh"

small_data 400 300
cat >recipe.toml <<'RECIPE'
precision = "f32"
steps = 12
[model]
n_layer = 2
n_head = 2
n_embd = 16
n_positions = 32
embd_pdrop = 0.1
attn_pdrop = 0.1
resid_pdrop = 0.1
[data]
path = "data"
[optimizer]
learning_rate = 1e-3
[schedule]
warmup_steps = 3
[batch]
sequences = 4
sequence_length = 32
[evaluation]
every = 4
[samples]
every = 6
prompts = ["Line"]
max_tokens = 8
[checkpoints]
every = 2
keep_last = 1000
[run]
seed = 3
RECIPE

same_checkpoint() {
  for file in model.safetensors optimizer.safetensors trainer.json config.json tokenizer.json; do
    cmp -s "$1/checkpoints/step-000012/$file" "$2/checkpoints/step-000012/$file" || fail "$1 and $2 differ in $file"
  done
}

run train recipe.toml --set run.out=whole
expect_code 0
for file in recipe.toml metrics.jsonl curves.svg checkpoints/step-000012/model.safetensors; do
  [ -s "whole/$file" ] || fail "the run left no $file"
done
grep -q '"validation_loss"' whole/metrics.jsonl || fail "no validation loss in the log"
grep -q '"sample"' whole/metrics.jsonl || fail "no sample in the log"

# The same recipe gives the same bytes.
run train whole/recipe.toml --set run.out=again
expect_code 0
same_checkpoint whole again

# Without an interval there is one validation, at the end.
run train recipe.toml --set evaluation.every=0 --set run.out=at-the-end
expect_code 0
[ "$(grep -c '"validation_loss"' at-the-end/metrics.jsonl)" -eq 1 ] || fail "not one validation"
tail -1 at-the-end/metrics.jsonl | grep -q '"step":12,"validation_loss"' || fail "the last line is not the validation"

# Killed at any moment and resumed: the same bytes. The kill comes as soon as a checkpoint is there.
for attempt in 4 8; do
  "$fledge" train recipe.toml --set run.out=killed-$attempt >/dev/null 2>&1 &
  pid=$!
  until [ -d "killed-$attempt/checkpoints/step-00000$attempt" ] || ! kill -0 $pid 2>/dev/null; do sleep 0.005; done
  kill -KILL $pid 2>/dev/null
  wait $pid 2>/dev/null
  rm -rf killed-$attempt/checkpoints/step-000010 killed-$attempt/checkpoints/step-000012
  run train recipe.toml --set run.out=killed-$attempt --resume
  expect_code 0
  same_checkpoint whole killed-$attempt
done

# Ctrl+C finishes the step, saves and stops with 130.
"$fledge" train recipe.toml --set run.out=stopped --set steps=100000 --set checkpoints.every=0 >/dev/null 2>&1 &
pid=$!
until grep -q '"loss"' stopped/metrics.jsonl 2>/dev/null || ! kill -0 $pid 2>/dev/null; do sleep 0.01; done
kill -INT $pid
wait $pid
[ $? -eq 130 ] || fail "Ctrl+C does not end with 130"
ls stopped/checkpoints/step-*/trainer.json >/dev/null 2>&1 || fail "Ctrl+C saved nothing"

# Gradients that are summed over micro-batches are those of the large batch: the losses agree to rounding.
losses() { sed -n 's/.*"loss":\([0-9.e-]*\).*/\1/p' "$1/metrics.jsonl"; }
run train recipe.toml --set run.out=micro --set batch.micro_sequences=1
expect_code 0
paste <(losses whole) <(losses micro) | awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > 1e-5 * $1) exit 1 }' ||
  fail "micro-batches change the losses"

# A run's folder is never overwritten, and a resumed run must be the same run.
run train recipe.toml --set run.out=whole
expect_code 2
expect_sentence "already holds a run"
run train recipe.toml --set run.out=whole --resume
expect_code 0
expect_in err "no step was left"
run train recipe.toml --set run.out=whole --resume --set optimizer.learning_rate=0.5
expect_code 2
expect_sentence "another recipe"

# Bad recipes: one sentence, exit code 2.
run train recipe.toml --set optimizer.learning_rat=1
expect_code 2
expect_sentence "learning_rate"
run train recipe.toml --set batch.sequence_length=64 --set run.out=x
expect_code 2
run train recipe.toml --set steps=many
expect_code 2
run train missing.toml
expect_code 1
expect_sentence "missing.toml"

# A loss that is not finite stops the run and names step and tensor.
cp -r whole/checkpoints/step-000012 poisoned
size=$(stat -c %s poisoned/model.safetensors)
printf '\377\377\377\377' | dd of=poisoned/model.safetensors bs=1 seek=$((size - 4)) conv=notrunc 2>/dev/null
sed '/^\[model\]/,/^\[data\]/{/^\[data\]/!d}' recipe.toml >from_model.toml
run train from_model.toml --quiet --set run.out=nan --set model.path=poisoned --set evaluation.every=0
expect_code 1
expect_sentence "step 0: the parameter transformer."

# What came out can be used.
run generate whole --prompt "Line" --max-tokens 5 --seed 1 --json
expect_code 0
expect_in out '"finish_reason"'
first=$out
run generate whole --prompt "Line" --max-tokens 5 --seed 1 --json
[ "${first%,\"seconds\"*}" = "${out%,\"seconds\"*}" ] || fail "the same seed gives another text"
run generate whole --prompt "$(head -c 2000 text.txt)" --max-tokens 5
expect_code 1
expect_sentence "context"
run eval whole --perplexity text.txt --json
expect_code 0
expect_in out '"bits_per_byte"'
run logits whole --ids "1,2,3;4,5,6" --out logits.safetensors
expect_code 0
run logits whole --ids "1,2,9999" --out bad.safetensors
expect_code 1
[ ! -e bad.safetensors ] || fail "a failed command left a file"
run grads whole --ids "1,2,3" --targets "2,3,4" --out grads.safetensors
expect_code 0
run train recipe.toml --dry-run --json --set run.out=dry
expect_code 0
expect_in out '"parameters"'
[ ! -e dry/checkpoints ] || fail "--dry-run wrote something"
printf 'Line\n/again\n/temperature 0\n/nonsense\n/bye\n' >typed.txt
"$fledge" chat whole --max-tokens 5 <typed.txt >chat.out 2>&1 || fail "chat fails on piped input"
grep -q "/nonsense is not known" chat.out || fail "chat does not say what it does not know"
head -c 1000 whole/checkpoints/step-000012/model.safetensors >short.safetensors
cp -r whole/checkpoints/step-000012 broken && cp short.safetensors broken/model.safetensors
run generate broken --prompt "Line"
expect_code 1
expect_sentence "model.safetensors"

finish
