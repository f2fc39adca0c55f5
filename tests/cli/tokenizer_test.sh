#!/usr/bin/env bash
# fledge tokenizer and fledge data, from text to tokens and back.
. "$(dirname "$0")/check.sh"
cd "$work" || exit 1

# A text with repetitions, so that there is something to merge, and bytes that are not UTF-8.
for number in $(seq 200); do
  echo "It is a truth universally acknowledged, that number $number must be in want of a successor."
done >text.txt
printf 'caf\xc3\xa9 \xff\xfe \xe2\x82 end\n' >>text.txt

run tokenizer train --kind bpe --vocab-size 320 --input text.txt --out tok --special '<|pad|>'
expect_code 0
expect_in out "320 tokens, written to tok"
[ -s tok/tokenizer.json ] || fail "no tokenizer.json"
run tokenizer train --vocab-size 320 --input text.txt --out tok2 --special '<|pad|>' --json --quiet
expect_code 0
expect_in out '"vocabulary_size": 320'
[ -z "$err" ] || fail "--quiet still says: $err"
cmp tok/tokenizer.json tok2/tokenizer.json || fail "the same text gives another tokenizer"

run tokenizer train --vocab-size 5000 --input text.txt --out tok2
expect_code 0
expect_in out "the vocabulary stays below the 5,000 asked for"

# Encoding and decoding are exact inverses, byte for byte, from --text, --file and standard input.
run tokenizer encode tok --text "It is a truth"
expect_code 0
[[ "$out" =~ ^[0-9]+(,[0-9]+)*$ ]] || fail "ids: $out"
ids=$out
run tokenizer decode tok --ids "$ids"
[ "$out" = "It is a truth" ] || fail "decoded to: $out"
"$fledge" tokenizer encode tok --file text.txt --no-match-special >ids
"$fledge" tokenizer decode tok --ids - <ids >back.txt || fail "decoding failed"
cmp text.txt back.txt || fail "decode(encode(text)) is not the text"
"$fledge" tokenizer encode tok <text.txt | cmp - ids || fail "standard input gives other ids than --file"
run tokenizer encode tok --text "" --json
[ "$out" = '{"bytes":0,"count":0,"ids":[],"tokens":[]}' ] || fail "empty text: $out"
run tokenizer encode tok --text "a<|pad|>" --json
expect_in out '"<|pad|>"'

# The other kinds, with special tokens around a text.
run tokenizer train --kind wordpiece --vocab-size 120 --input text.txt --out words
expect_code 0
run tokenizer encode words --text "It is a TRUTH" --add-special --json
expect_in out '"[CLS]","it","is","a","tr'
run tokenizer train --kind unigram --vocab-size 120 --input text.txt --out pieces
expect_code 0
run tokenizer encode pieces --text "It is a truth" --add-special --json
expect_in out '"<s>","▁It","▁is","▁a","▁truth"'
printf '{"text": "It is a truth [SEP] universally"}\n{"text": "acknowledged"}\n' >text.jsonl
run tokenizer train --kind wordpiece --vocab-size 60 --min-frequency 1 --input text.jsonl --out words2 --special '[EXTRA]' --quiet
expect_code 0
grep -q 'EXTRA' words2/tokenizer_config.json || fail "no [EXTRA]"

# Mistakes, each one sentence.
run tokenizer decode tok --ids 5,400
expect_code 1
expect_sentence "400 is not in the vocabulary"
run tokenizer decode tok --ids 5,x
expect_code 2
expect_sentence '"x" is not a token id'
run tokenizer encode missing --text a
expect_code 1
expect_sentence "missing"
run tokenizer train --vocab-size 300 --input missing.txt --out tok3
expect_code 1
expect_sentence "missing.txt"
[ ! -e tok3 ] || fail "a failed training left a folder"
run tokenizer train --vocab-size 100 --input text.txt --out tok3
expect_code 2
expect_sentence "a vocabulary of 100 tokens is too small"
run tokenizer train --kind wordpiece --pattern gpt2 --input text.txt --out tok3
expect_code 2
expect_sentence "--pattern has no meaning with --kind wordpiece"
run tokenizer train --cased --input text.txt --out tok3
expect_code 2
expect_sentence "no meaning with --kind bpe"
run tokenizer train --kind wordpiece --cased --lowercase --input text.txt --out tok3
expect_code 2
run tokenizer train --vocab-siz 300 --input text.txt --out tok3
expect_code 2
expect_sentence "did you mean --vocab-size?"
run tokenizer encode
expect_code 2
expect_sentence '`fledge tokenizer encode` needs DIR'
run tokenizer trian
expect_code 2
expect_sentence "did you mean train?"
echo '{"version":"1.0","model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}}' >bad.json
run tokenizer encode bad.json --text a
expect_code 1
expect_sentence "bad.json"

# A folder named like a verb is a folder.
cp -r tok data
run tokenizer encode data --text a
expect_code 0

run data list
expect_code 0
expect_in out austen
expect_in out SHA-256
run data list --json
expect_in out '"sha256":'
run data get austn
expect_code 2
expect_sentence "austen"
finish
