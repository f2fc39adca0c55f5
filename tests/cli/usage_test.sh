#!/usr/bin/env bash
# Help, version, exit codes, "did you mean", colours.
. "$(dirname "$0")/check.sh"

# Help and version are results: standard output, exit code 0.
run --help
expect_code 0
expect_in out "Usage: fledge COMMAND"
expect_in out "doctor"
[ -z "$err" ] || fail "help wrote to standard error: $err"
help=$out
run
expect_code 0
[ "$out" = "$help" ] || fail "fledge alone does not show the help"
run --version
expect_code 0
[[ "$out" =~ ^fledge\ [0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "version: $out"

# Every verb has help with a usage line and an example, in at most 80 columns when piped.
for verb in $(sed -n '/^[A-Z][a-z]*:$/,$ s/^  \([a-z]\{1,\}\) .*/\1/p' <<<"$help" | grep -v '^fledge$'); do
  run "$verb" --help
  expect_code 0
  expect_in out "Usage: fledge $verb"
  expect_in out "Example:"
  expect_in out "--help"
  long=$(sed '/^Example:/,$d' <<<"$out" | awk 'length > 80' | head -1)
  [ -z "$long" ] || fail "fledge $verb --help has a long line: $long"
done

# Unknown verbs and flags: exit code 2, one sentence, the nearest right word.
run doctr
expect_code 2
expect_sentence 'unknown command "doctr" for `fledge`; did you mean doctor?'
run doctor --jsn
expect_code 2
expect_sentence 'unknown flag --jsn for `fledge doctor`; did you mean --json?'
run doctor --jsn=1
expect_code 2
expect_sentence 'did you mean --json?'
run --vers
expect_code 2
expect_sentence 'did you mean --version?'
run doctor surplus
expect_code 2
expect_sentence '`fledge doctor` does not take the argument "surplus"'
run qqqqqqqqqq
expect_code 2
expect_sentence '`fledge --help` lists what there is'
run doctor --threads
expect_code 2
expect_sentence '--threads needs a value: --threads N'
run doctor --threads 0
expect_code 2
expect_sentence '--threads'
run doctor --threads many
expect_code 2
expect_sentence 'many'
# What the user typed cannot reach the terminal as control characters.
run $'\033[2Jx'
expect_code 2
expect_not_in err $'\033'

# Colour only on a terminal, and not with NO_COLOR or --no-color. Errors go to the terminal too.
in_terminal env -u NO_COLOR "$fledge" doctr
expect_code 2
expect_in out $'\033['
in_terminal env -u NO_COLOR "$fledge" doctr --no-color
in_terminal env NO_COLOR=1 "$fledge" doctr
expect_not_in out $'\033['
in_terminal env -u NO_COLOR "$fledge" doctor
expect_in out $'\033[1m'
in_terminal env -u NO_COLOR "$fledge" doctor --no-color
expect_not_in out $'\033['

# Results that cannot be written are an error.
if [ -w /dev/full ]; then
  "$fledge" --help >/dev/full 2>"$work/err"
  code=$?
  err=$(cat "$work/err")
  expect_code 1
  expect_sentence "standard output cannot be written"
fi
finish
