#!/usr/bin/env bash
# From text to a BERT of its own, and from that to a model that labels texts.
. "$(dirname "$0")/check.sh"
cd "$work" || exit 1

for number in $(seq 300); do
  echo "the sun is warm and the day is bright, number $number of many good days."
  echo "the rain is cold and the night is dark, number $number of many bad nights."
done >text.txt
run tokenizer train --kind wordpiece --vocab-size 90 --input text.txt --out tokenizer
expect_code 0

cat >mlm.toml <<'END'
steps = 16
precision = "f32"
[model]
preset = "bert-tiny"
resid_pdrop = 0.1
embd_pdrop = 0.1
[data]
text = ["text.txt"]
tokenizer = "tokenizer"
[objective]
kind = "masked_language"
whole_words = true
next_sentence = true
[optimizer]
learning_rate = 1e-3
bias_correction = false
[batch]
sequences = 4
micro_sequences = 2
sequence_length = 32
[evaluation]
every = 8
batches = 2
[checkpoints]
every = 8
[run]
out = "mlm"
END
run train mlm.toml --dry-run
expect_code 0
run train mlm.toml --json
expect_code 0
expect_in out validation_masked_accuracy
expect_in out validation_next_sentence_accuracy
grep -q BertForPreTraining mlm/checkpoints/step-000016/config.json || fail "no BertForPreTraining"
# A run that was stopped half way and goes on ends with the same bytes.
cp -r mlm half
rm -r half/checkpoints/step-000016
run train mlm.toml --set run.out=half --resume --quiet
expect_code 0
cmp half/checkpoints/step-000016/model.safetensors mlm/checkpoints/step-000016/model.safetensors ||
  fail "a resumed run differs"

# Labels: the encoder's own weights, a new head.
{
  echo "text,label"
  for number in $(seq 60); do
    echo "\"the sun is warm, number $number\",good"
    echo "\"the rain is cold and the night is dark, number $number\",bad"
  done
} >labels.csv
cat >classify.toml <<'END'
epochs = 3.0
precision = "f32"
[model]
path = "mlm"
[data]
path = "labels.csv"
val_fraction = 0.2
[objective]
kind = "classify"
[optimizer]
learning_rate = 1e-3
[batch]
sequences = 8
sequence_length = 32
[evaluation]
every = 20
[run]
out = "labels"
END
run train classify.toml
expect_code 0
expect_in out "Rows are the labels"
run classify labels --text "the sun is warm, number 7" --text "the rain is cold and the night is dark" --json
expect_code 0
expect_in out '"label":"good"'
expect_in out '"label":"bad"'
# GGUF files hold the encoder and say so.
run export labels --to gguf --out labels.gguf
expect_code 0
expect_in out "left out"
expect_in out "classifier.weight"
run classify labels --file labels.csv --label-column label
expect_code 0
expect_in out "accuracy  1.0000"
grep -q BertForSequenceClassification labels/checkpoints/*/config.json || fail "no BertForSequenceClassification"

# Words, from the model that predicts tokens.
for number in $(seq 40); do
  echo '{"text": ["the", "sun", "is", "warm"], "label": ["D", "N", "V", "A"]}'
  echo '{"text": "the night is dark", "label": "D N V A"}'
done >words.jsonl
run train classify.toml --set data=words.jsonl --set objective.task=tokens --set run.out=words --quiet
expect_code 0
run classify words --text "the day is cold"
expect_code 0
expect_in out "$(printf 'the\tD')"

# Numbers of pairs.
printf 'text\tsecond\tlabel\nsun\tsun\t1.0\nsun\train\t0.0\n' >pairs.tsv
for number in $(seq 20); do printf 'warm\tcold\t0.%d\n' "$number"; done >>pairs.tsv
run train classify.toml --set data=pairs.tsv --set objective.task=regression --set data.text_pair_column=second \
  --set run.out=pairs --json
expect_code 0
expect_in out validation_spearman
run classify pairs --text warm --pair cold
expect_code 0

# How fast encoders read, in turns.
encoder=mlm/checkpoints/step-000016
run bench encode --model "$encoder" --beside "$encoder" --seq 16 --steps 1 --json
expect_code 0
expect_in out '"beside_texts_per_second"'
expect_in out '"times_as_fast"'
run bench encode --model "$encoder" --seq 1000
expect_code 2
expect_sentence "longer than the context"
run bench train --beside "$encoder"
expect_code 2
expect_sentence "--beside is for bench encode"

# Mistakes, each one sentence.
run classify mlm --text a
expect_code 1
expect_sentence "no head of labels"
run classify labels
expect_code 2
expect_sentence "needs a text"
run classify labels --text a --pair b --pair c
expect_code 2
expect_sentence "one --pair for each --text"
run classify labels --file labels.csv --label-column kind
expect_code 1
expect_sentence 'no column "kind"'
run train classify.toml --set data.labels='["good", "ugly"]' --set run.out=x
expect_code 1
expect_sentence 'the label "bad" is not one of the 2 labels'
run train classify.toml --set 'data.labels=["good", "bad", "ugly"]' --set run.out=x
expect_code 2
expect_sentence 'data.labels names "ugly"'
run train mlm.toml --set model.n_layer=3 --set run.out=x
expect_code 2
expect_sentence "contradicts model.preset"
run train mlm.toml --set model.preset= --set model.family=gpt2 --set run.out=x
expect_code 2
expect_sentence 'is for an encoder'
run train mlm.toml --set objective.kind=next_token --set run.out=x
expect_code 1
expect_sentence "cannot learn to predict the next token"
finish
