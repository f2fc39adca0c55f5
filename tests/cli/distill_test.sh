#!/usr/bin/env bash
# Distillation from the command line: alpha = 0 is plain training, every term is logged and resumed exactly, blocks are
# taken over, stored logits are used again, and what does not fit is refused in one sentence.
. "$(dirname "$0")/check.sh"

small_data 400 300
cat >recipe.toml <<'RECIPE'
precision = "f32"
steps = 8
[data]
path = "data"
[optimizer]
learning_rate = 1e-3
[batch]
sequences = 4
sequence_length = 32
[evaluation]
every = 4
[checkpoints]
every = 4
keep_last = 1000
[run]
seed = 3
RECIPE
small=(--set model.n_layer=2 --set model.n_head=2 --set model.n_embd=16 --set model.n_positions=32
       --set model.attn_pdrop=0.1)
taught=(--set distillation.teacher=teacher)

run train recipe.toml --set model.n_layer=4 --set model.n_head=2 --set model.n_embd=24 --set model.n_positions=32 \
  --set optimizer.learning_rate=5e-3 --set steps=30 --set run.out=teacher
expect_code 0

same_checkpoint() {
  for file in model.safetensors optimizer.safetensors config.json; do
    cmp -s "$1/checkpoints/step-000008/$file" "$2/checkpoints/step-000008/$file" || fail "$1 and $2 differ in $file"
  done
}

# Without alpha, the teacher changes nothing, bit for bit.
run train recipe.toml "${small[@]}" --set run.out=alone
expect_code 0
run train recipe.toml "${small[@]}" "${taught[@]}" --set distillation.alpha=0 --set run.out=silent
expect_code 0
same_checkpoint alone silent

# All terms, a projection among them; killed after a checkpoint and resumed, it ends with the same bytes.
terms=("${small[@]}" "${taught[@]}" --set distillation.hidden_weight=1 --set distillation.attention_weight=0.5
       --set distillation.embedding_weight=0.5 --set 'distillation.layers=["0:1","1:3"]')
run train recipe.toml "${terms[@]}" --set run.out=terms
expect_code 0
for name in ce kl agreement hidden attention embedding validation_ce validation_kl; do
  grep -q "\"$name\":" terms/metrics.jsonl || fail "no $name in the log"
done
cp -r terms killed
rm -r killed/checkpoints/step-000008
run train recipe.toml "${terms[@]}" --set run.out=killed --resume
expect_code 0
same_checkpoint terms killed
run generate terms --prompt "Line" --max-tokens 5
expect_code 0
run train recipe.toml "${terms[@]}" --set run.out=dry --dry-run
expect_code 0

# A student made of the teacher's blocks.
run train recipe.toml "${taught[@]}" --set model.layers_from=teacher --set 'model.layers=["0","3"]' \
  --set distillation.hidden_weight=1 --set distillation.hidden_distance=cosine --set run.out=copied
expect_code 0
grep -q '"n_layer": 2' copied/checkpoints/step-000008/config.json || fail "the student has not two blocks"
run train copied/recipe.toml --set run.out=copied-again
expect_code 0
same_checkpoint copied copied-again

# Stored logits: made once, used again, by micro-batches too; refused where they are another's.
stored=("${small[@]}" "${taught[@]}" --set distillation.top_k=8 --set distillation.cache=kept.safetensors)
run train recipe.toml "${stored[@]}" --set run.out=stored
expect_code 0
expect_in err "likeliest tokens of"
date=$(stat -c %y kept.safetensors)
run train recipe.toml "${stored[@]}" --set run.out=stored-again
expect_code 0
[ "$(stat -c %y kept.safetensors)" = "$date" ] || fail "the stored logits were made again"
same_checkpoint stored stored-again
run train recipe.toml "${stored[@]}" --set run.out=micro --set batch.micro_sequences=1
expect_code 0
run train recipe.toml "${stored[@]}" --set run.out=other --set distillation.temperature=3 --quiet
expect_code 1
expect_sentence "kept.safetensors: the stored logits were made with another distillation.temperature: 2, expected 3"
run train recipe.toml "${stored[@]}" --set run.out=other2 --set run.seed=4 --quiet
expect_code 1
expect_sentence "no row like one of this run"

# Texts of the student's own, resumed exactly.
own=("${small[@]}" "${taught[@]}" --set distillation.alpha=1 --set distillation.on_policy=0.5
     --set distillation.divergence=reverse)
run train recipe.toml "${own[@]}" --set run.out=own
expect_code 0
cp -r own own-killed
rm -r own-killed/checkpoints/step-000008
run train recipe.toml "${own[@]}" --set run.out=own-killed --resume
expect_code 0
same_checkpoint own own-killed

# What does not fit: one sentence.
refuse() {  # refuse CODE TEXT ARGUMENTS...
  local expected=$1 text=$2
  shift 2
  run train recipe.toml "$@" --set run.out=refused --quiet
  expect_code "$expected"
  expect_sentence "$text"
}
run tokenizer train --kind bpe --vocab-size 290 --input text.txt --out other-tokenizer
cp -r teacher/checkpoints/step-000030 stranger
cp other-tokenizer/tokenizer.json stranger/
refuse 2 "the teacher stranger and the student's data with the tokenizer data have different vocabularies" \
  "${small[@]}" --set distillation.teacher=stranger
refuse 2 '"1:4", but the teacher has 4 blocks' "${terms[@]}" --set 'distillation.layers=["1:4"]'
refuse 2 '"2:1", but the student has 2 blocks' "${terms[@]}" --set 'distillation.layers=["2:1"]'
refuse 2 "compares head with head" "${terms[@]}" --set model.n_head=4
refuse 2 "set model.vocab_size = 300" "${small[@]}" "${taught[@]}" --set model.vocab_size=320
refuse 2 "needs distillation.alpha = 1" "${own[@]}" --set distillation.alpha=0.5
refuse 2 "keeps the teacher's predictions alone" "${stored[@]}" --set distillation.hidden_weight=1
refuse 2 "needs distillation.teacher" "${small[@]}" --set distillation.hidden_weight=1
refuse 2 '"4", but model.layers_from has the blocks 0 to 3' --set model.layers_from=teacher --set 'model.layers=["4"]'
refuse 2 "model.n_embd describes a new model, but model.layers_from" --set model.layers_from=teacher \
  --set model.n_embd=16
refuse 1 "no-such-model" "${small[@]}" --set distillation.teacher=no-such-model

finish
