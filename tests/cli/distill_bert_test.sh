#!/usr/bin/env bash
# Distillation of encoders: masked tokens with a BERT's blocks taken over (DistilBERT), and TinyBERT's three stages.
. "$(dirname "$0")/check.sh"

mkdir "$work/home"
cd "$work/home"
for line in $(seq 1 300); do
  echo "line $line of a little text about number $((line * 7919 % 100)) and the sea , the $((line % 13)) seas ."
done >text.txt
for line in $(seq 1 240); do
  if [ $((line * 7919 % 3)) -eq 0 ]; then echo -e "the sea number $line\twet"; else echo -e "a little text $line\tdry"; fi
done >labelled
(echo -e "text\tlabel"; head -200 labelled) >train.tsv
(echo -e "text\tlabel"; tail -40 labelled) >test.tsv
run tokenizer train --kind wordpiece --vocab-size 200 --input text.txt --out tokenizer
expect_code 0
cat >masked.toml <<'RECIPE'
precision = "f32"
steps = 6
[data]
text = ["text.txt"]
tokenizer = "tokenizer"
[objective]
kind = "masked_language"
[optimizer]
learning_rate = 1e-3
[batch]
sequences = 4
sequence_length = 32
[evaluation]
every = 3
[checkpoints]
every = 3
keep_last = 1000
RECIPE
sed -e '/^\[data\]/,/^\[optimizer\]/{/^\[optimizer\]/!d}' masked.toml >task.toml
cat >>task.toml <<'RECIPE'
[data]
path = "train.tsv"
val_path = "test.tsv"
[objective]
kind = "classify"
RECIPE
bert=(--set model.family=bert --set model.n_head=2 --set model.n_positions=32 --set model.attn_pdrop=0.1)

run train masked.toml "${bert[@]}" --set model.n_layer=4 --set model.n_embd=24 --set run.out=teacher
expect_code 0

# DistilBERT: alternate blocks, soft targets, masked tokens, a cosine.
run train masked.toml --set model.layers_from=teacher --set distillation.teacher=teacher \
  --set distillation.hidden_weight=1 --set distillation.hidden_distance=cosine --set 'distillation.layers=["last"]' \
  --set run.out=distilbert
expect_code 0
for name in ce kl agreement hidden validation_kl validation_masked_accuracy; do
  grep -q "\"$name\":" distilbert/metrics.jsonl || fail "no $name in the log of masked tokens"
done
run train masked.toml "${bert[@]}" --set model.n_layer=2 --set model.n_embd=16 --set run.out=alone
expect_code 0
run train masked.toml "${bert[@]}" --set model.n_layer=2 --set model.n_embd=16 --set run.out=silent \
  --set distillation.teacher=teacher --set distillation.alpha=0
expect_code 0
cmp -s alone/checkpoints/step-000006/model.safetensors silent/checkpoints/step-000006/model.safetensors ||
  fail "alpha = 0 is not plain training"

# TinyBERT: hidden states, attention and embeddings in general; then the same on the task; then its predictions.
features=(--set distillation.prediction_weight=0 --set distillation.hidden_weight=1 --set distillation.attention_weight=1
          --set distillation.embedding_weight=1)
run train masked.toml "${bert[@]}" --set model.n_layer=2 --set model.n_embd=16 --set run.out=general \
  --set distillation.teacher=teacher "${features[@]}"
expect_code 0
run train task.toml --set model.path=teacher --set run.out=tuned
expect_code 0
run train task.toml --set model.path=general --set run.out=task --set distillation.teacher=tuned "${features[@]}"
expect_code 0
grep -q '"attention":' task/metrics.jsonl || fail "no attention in the log of the task"
run train task.toml --set model.path=task --set run.out=tiny --set distillation.teacher=tuned \
  --set distillation.alpha=1 --set distillation.temperature=1
expect_code 0
for name in kl agreement validation_accuracy validation_agreement; do
  grep -q "\"$name\":" tiny/metrics.jsonl || fail "no $name in the log of the predictions"
done
run train task.toml --set model.path=general --set run.out=dry --set distillation.teacher=tuned "${features[@]}" --dry-run
expect_code 0

# Regression: the teacher's number beside the label's.
sed -e 's/wet$/1.5/; s/dry$/-0.5/' train.tsv >numbers.tsv
sed -e 's/wet$/1.5/; s/dry$/-0.5/' test.tsv >test-numbers.tsv
numbers=(--set data.path=numbers.tsv --set data.val_path=test-numbers.tsv --set objective.task=regression)
run train task.toml "${numbers[@]}" --set model.path=teacher --set run.out=scored
expect_code 0
run train task.toml "${numbers[@]}" --set model.path=general --set run.out=scored-student \
  --set distillation.teacher=scored
expect_code 0
grep -q '"teacher_squared_error":' scored-student/metrics.jsonl || fail "no squared error of the teacher"

refuse() {  # refuse CODE TEXT RECIPE ARGUMENTS...
  local expected=$1 text=$2
  shift 2
  run train "$@" --set run.out=refused --quiet
  expect_code "$expected"
  expect_sentence "$text"
}
refuse 2 "the student's labels are" task.toml --set model.path=general --set distillation.teacher=teacher
refuse 2 "set objective.next_sentence = false" masked.toml "${bert[@]}" --set objective.next_sentence=true \
  --set distillation.teacher=teacher
refuse 2 'distillation.top_k is for objective.kind = "next_token"' masked.toml "${bert[@]}" \
  --set distillation.teacher=teacher --set distillation.top_k=4
finish
