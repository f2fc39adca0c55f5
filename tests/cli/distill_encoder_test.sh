#!/usr/bin/env bash
# TinyBERT's way from the command line, small: a teacher that predicts masked tokens and learned a task, more texts from
# it, a narrow student by its layers and then by its predictions, each stage resumed exactly; and DistilBERT's.
. "$(dirname "$0")/check.sh"
cd "$work" || exit 1

for number in $(seq 200); do
  echo "the sun is warm and the day is bright, number $number of many good days."
  echo "the rain is cold and the night is dark, number $number of many bad nights."
done >text.txt
run tokenizer train --kind wordpiece --vocab-size 90 --input text.txt --out tokenizer
expect_code 0
{
  printf 'text\tlabel\n'
  for number in $(seq 40); do
    printf 'the sun is warm, number %d\tgood\nthe rain is cold and the night is dark, number %d\tbad\n' "$number" "$number"
  done
} >labels.tsv

cat >plain.toml <<'END'
steps = 12
precision = "f32"
[data]
text = ["text.txt"]
tokenizer = "tokenizer"
[objective]
kind = "masked_language"
[optimizer]
learning_rate = 3e-3
[batch]
sequences = 4
sequence_length = 32
[checkpoints]
every = 6
keep_last = 1000
END
cat >task.toml <<'END'
steps = 60
precision = "f32"
[data]
path = "labels.tsv"
val_fraction = 0.2
[objective]
kind = "classify"
[optimizer]
learning_rate = 3e-3
[batch]
sequences = 8
sequence_length = 32
[checkpoints]
every = 30
keep_last = 1000
END
bert=(--set model.family=bert --set model.n_positions=32)
run train plain.toml "${bert[@]}" --set model.n_layer=4 --set model.n_head=4 --set model.n_embd=24 --set run.out=teacher
expect_code 0
run train task.toml --set model.path=teacher --set run.out=teacher-task
expect_code 0

# resumed NAME STEP ARGUMENTS...: the run NAME, with its last checkpoint lost, ends with the same bytes again.
resumed() {
  local name=$1 step=$2
  shift 2
  cp -r "$name" "$name-killed"
  rm -r "$name-killed/checkpoints/$step"
  run train "$@" --set run.out="$name-killed" --resume --quiet
  expect_code 0
  for file in model.safetensors optimizer.safetensors config.json; do
    cmp -s "$name/checkpoints/$step/$file" "$name-killed/checkpoints/$step/$file" || fail "$name: another $file"
  done
}

# More texts: with the head for masked tokens, and without one.
run data augment labels.tsv --model teacher --out more.tsv --variants 3 --candidates 4
expect_code 0
expect_in out "80 examples became"
cp more.tsv first.tsv
run data augment labels.tsv --model teacher --out more.tsv --variants 3 --candidates 4 --json --threads 1
expect_code 0
cmp -s first.tsv more.tsv || fail "the same texts became others"
[ "$(head -2 more.tsv | tail -1)" = "$(head -2 labels.tsv | tail -1)" ] || fail "the text itself is not the first"
[ "$(wc -l <more.tsv)" -gt 200 ] || fail "only $(wc -l <more.tsv) lines"
[ "$(cut -f2 more.tsv | sort -u | wc -l)" -eq 3 ] || fail "other labels"
run data augment labels.tsv --model teacher-task --out words.jsonl --variants 1 --probability 1
expect_code 0
expect_in err "no head for masked tokens"
expect_in err "neighbours"
grep -q '^{"text":".*","label":"good"}$' words.jsonl || fail "no JSON lines"

# General distillation, the task's layers, the task's predictions.
layers=(--set distillation.prediction_weight=0 --set distillation.hidden_weight=1 --set distillation.attention_weight=1
        --set distillation.embedding_weight=1)
narrow=("${bert[@]}" --set model.n_layer=2 --set model.n_head=4 --set model.n_embd=16)
general=(plain.toml "${narrow[@]}" --set distillation.teacher=teacher "${layers[@]}")
run train "${general[@]}" --set run.out=general
expect_code 0
has() {  # has RUN NAME...: these numbers are in the run's log
  local run=$1 name
  shift
  for name in "$@"; do grep -q "\"$name\":" "$run/metrics.jsonl" || fail "no $name in the log of $run"; done
}
has general hidden attention embedding validation_hidden validation_attention validation_embedding
resumed general step-000012 "${general[@]}"
task=(task.toml --set distillation.teacher=teacher-task --set distillation.alpha=1 --set data.path=more.tsv)
run train "${task[@]}" "${layers[@]}" --set model.path=general --set run.out=layers
expect_code 0
resumed layers step-000060 "${task[@]}" "${layers[@]}" --set model.path=general
predictions=("${task[@]}" --set distillation.temperature=1 --set model.path=layers --set optimizer.learning_rate=1e-2)
run train "${predictions[@]}" --set run.out=student
expect_code 0
has student validation_agreement validation_kl
grep -q '"hidden_size": 16' student/checkpoints/step-000060/config.json || fail "another width"
run classify student --file labels.tsv --label-column label
expect_code 0
expect_in out "accuracy  1.0000"

# Alternate blocks of the teacher, soft targets of masked tokens and the cosine.
run train plain.toml --set model.layers_from=teacher --set distillation.teacher=teacher --set distillation.hidden_weight=1 \
  --set distillation.hidden_distance=cosine --set 'distillation.layers=["last"]' --set run.out=distilbert
expect_code 0
has distilbert validation_kl validation_hidden
grep -q '"num_hidden_layers": 2' distilbert/checkpoints/step-000012/config.json || fail "not two blocks"

# A tokenizer by the name of a model in the store.
export XDG_DATA_HOME="$work/share"
mkdir -p "$XDG_DATA_HOME/fledge/models"
cp -r teacher/checkpoints/step-000012 "$XDG_DATA_HOME/fledge/models/own"
run train task.toml "${narrow[@]}" --set data.tokenizer=own --set steps=2 --set run.out=named
expect_code 0

# Mistakes, each one sentence.
run train "${task[@]}" "${layers[@]}" "${bert[@]}" --set model.n_layer=2 --set model.n_head=2 --set model.n_embd=16 \
  --set data.tokenizer=tokenizer --set run.out=x --quiet
expect_code 2
expect_sentence "compares head with head"
run train "${task[@]}" --set model.path=general --set distillation.teacher=teacher --set run.out=x --quiet
expect_code 2
expect_sentence "the student's labels are"
run data augment labels.tsv --model teacher --out more.txt
expect_code 2
expect_sentence "a table of examples is a .csv, .tsv or .jsonl file"
run data augment labels.tsv --model teacher --out more.tsv --text-column txet
expect_code 1
expect_sentence 'no column "txet"'
small_data 40 300
run train ../plain.toml --set data.text='["text.txt"]' --set data.tokenizer=tokenizer --set objective.kind=next_token \
  --set model.n_layer=1 --set model.n_head=1 --set model.n_embd=8 --set model.n_positions=32 --set run.out=gpt
expect_code 0
run data augment ../labels.tsv --model gpt --out more.tsv
expect_code 1
expect_sentence "is not WordPiece"
finish
