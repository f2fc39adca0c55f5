#!/usr/bin/env bash
# fledge data prepare, and how progress looks on a terminal, in a pipe and with --quiet.
. "$(dirname "$0")/check.sh"
cd "$work" || exit 1

for number in $(seq 500); do echo "Document $number says that it is number $number."; done >text.txt
sed 's/.*/{"text": "&"}/' text.txt >lines.jsonl
gzip -k lines.jsonl
"$fledge" tokenizer train --vocab-size 300 --input text.txt --out tok --quiet >/dev/null || fail "no tokenizer"

run data prepare --input text.txt --tokenizer tok --out prepared
expect_code 0
expect_in out "train"
expect_in out "validation"
expect_in out "written to prepared"
[ -s prepared/index.json ] || fail "no index"
[ -s prepared/tokenizer.json ] || fail "the tokenizer does not go with the data"
run data prepare --input lines.jsonl --tokenizer tok --out lines --json
expect_code 0
expect_in out '"documents": '
run data prepare --input lines.jsonl.gz --tokenizer tok --out zipped --json
for file in lines/*; do cmp "$file" "zipped/$(basename "$file")" || fail "compression changes the data"; done
run data prepare --input lines.jsonl --tokenizer tok --out whole --val-fraction 0 --json
expect_code 0

# Mistakes, each one sentence, and nothing is left behind.
run data prepare --input missing.txt --tokenizer tok --out nothing
expect_code 1
expect_sentence "missing.txt"
echo '{"txt": "a"}' >bad.jsonl
run data prepare --input bad.jsonl --tokenizer tok --out nothing
expect_code 1
expect_sentence "bad.jsonl"
run data prepare --input text.txt --tokenizer missing --out nothing
expect_code 1
expect_sentence "missing"
run data prepare --input text.txt --tokenizer tok --out nothing --val-fraction 0.9
expect_code 2
expect_sentence "--val-fraction"
run data prepare --input text.txt --out nothing
expect_code 2
expect_sentence '`fledge data prepare` needs --tokenizer DIR'
[ ! -e nothing ] || fail "a failed preparation left something behind"

# In a pipe progress is whole lines without control characters; with --quiet there is none.
run data prepare --input text.txt --tokenizer tok --out prepared
expect_in err "prepare: 100.0%"
expect_not_in err $'\r'
expect_not_in err $'\033'
run data prepare --input text.txt --tokenizer tok --out prepared --quiet
[ -z "$err" ] || fail "--quiet still says: $err"

# On a terminal one line is drawn in place and gives way to the result.
in_terminal "$fledge" data prepare --input text.txt --tokenizer tok --out prepared
expect_code 0
expect_in out prepare
expect_in out $'\033[K'
in_terminal "$fledge" data prepare --input text.txt --tokenizer tok --out prepared --quiet
expect_not_in out $'\033[K'
finish
