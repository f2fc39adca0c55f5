#!/usr/bin/env bash
# fledge pull, list, show and rm, and how a model is found by its name. Nothing is downloaded.
. "$(dirname "$0")/check.sh"
reference=$(realpath "$(dirname "$0")/../reference/data")
cd "$work" || exit 1
export XDG_DATA_HOME=$work/data HF_HUB_CACHE=$work/hub

run list
expect_code 0
expect_in out "is empty"
expect_in out "minilm"
run list --json
[ "$out" = "[]" ] || fail "an empty store: $out"

# A model in the store, found by its name by every verb.
mkdir -p data/fledge/models/own
cp -r "$reference/bert_pretraining" data/fledge/models/own/tiny
run list
expect_code 0
expect_in out "own/tiny"
run list --json
expect_in out '"kind": "bert"'
run show own/tiny --json
expect_code 0
expect_in out '"hidden_size": 30'
expect_in out '"name": "own/tiny"'
run show own/tiny
expect_code 0
expect_in out "bert"
run logits own/tiny --ids 1,2,3 --token-types 0,0,1 --lengths 3 --out logits.safetensors
expect_code 0
[ -s logits.safetensors ] || fail "no logits"
run generate own/tiny --prompt x
expect_code 1

# Hugging Face's cache.
commit=0123456789012345678901234567890123456789
mkdir -p "hub/models--some--body/refs" hub/models--some--body/snapshots
cp -r "$reference/bert_encoder" "hub/models--some--body/snapshots/$commit"
printf %s "$commit" >hub/models--some--body/refs/main
run show some/body
expect_code 0
expect_in out "$commit"
run show some/body@other
expect_code 1
expect_sentence "fledge pull"

# Names that are none.
run pull nothing
expect_code 2
expect_sentence "smollm2, minilm, or hf:OWNER/NAME"
run pull hf:../x
expect_code 2
expect_sentence "is no repository"
run rm ../hub
expect_code 2
expect_sentence "no model"
run rm own/tinny
expect_code 2
expect_sentence 'did you mean "own/tiny"'
run rm own/tiny
expect_code 0
expect_in out "is deleted"
[ ! -e data/fledge/models/own ] || fail "the folder is still there"
[ -e "hub/models--some--body/snapshots/$commit/config.json" ] || fail "the cache was touched"

# Embeddings need a tokenizer, and say so.
run embed "hub/models--some--body/snapshots/$commit" --text "a cat"
expect_code 1
expect_sentence "tokenizer"
run embed "hub/models--some--body/snapshots/$commit"
expect_code 2
expect_sentence "--text"

finish
