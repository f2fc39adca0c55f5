# Checks that the command tests share: source it with the program's path as $1.
set -uo pipefail
fledge=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

fail() {
  echo "FAIL (line ${BASH_LINENO[-2]}): $*" >&2
  failures=$((failures + 1))
}

# run ARGUMENTS...: leaves the exit code in $code, the two outputs in $out and $err. Input is empty.
run() {
  "$fledge" "$@" >"$work/out" 2>"$work/err" </dev/null
  code=$?
  out=$(cat "$work/out")
  err=$(cat "$work/err")
}

# expect_code CODE: of the last run.
expect_code() {
  [ "$code" -eq "$1" ] || fail "exit code $code, expected $1; it said: $err"
}

# expect_in WHERE TEXT: the variable $WHERE (out or err) holds the text.
expect_in() {
  [[ "${!1}" == *"$2"* ]] || fail "$1 does not hold \"$2\" but: ${!1}"
}

expect_not_in() {
  [[ "${!1}" != *"$2"* ]] || fail "$1 holds \"$2\": ${!1}"
}

# expect_sentence TEXT: the last run failed with one line on standard error that begins with the program's name.
expect_sentence() {
  [ "$(wc -l <"$work/err")" -eq 1 ] || fail "not one sentence: $err"
  [[ "$err" == "fledge: "* ]] || fail "does not begin with \"fledge: \": $err"
  expect_in err "$1"
}

# in_terminal COMMAND...: runs it on a terminal of 100 columns; what was drawn is in $out.
in_terminal() {
  local quoted
  quoted=$(printf '%q ' "$@")
  TERM=xterm script -qec "stty cols 100; $quoted" "$work/typescript" >"$work/out" 2>&1 </dev/null
  code=$?
  out=$(cat "$work/out")
}

# small_tokenizer LINES SIZE [FLAGS...]: goes into a folder of its own with text.txt and a tokenizer that learned from it.
small_tokenizer() {
  mkdir "$work/home"
  cd "$work/home" || exit 1
  local line
  for line in $(seq 1 "$1"); do
    echo "Line $line of a little text about number $((line * 7919 % 1000)) and the sea, the sea, the $((line % 13)) seas."
  done >text.txt
  run tokenizer train --kind bpe --vocab-size "$2" "${@:3}" --input text.txt --out tokenizer
  expect_code 0
}

# small_data LINES SIZE [FLAGS...]: the same, with the text prepared for training in the folder data.
small_data() {
  small_tokenizer "$@"
  run data prepare --input text.txt --tokenizer tokenizer --out data
  expect_code 0
}

# start_server ARGUMENTS...: fledge serve with these and its address in $address; the test's end ends it.
start_server() {
  "$fledge" serve "$@" >"$work/log" 2>&1 &
  server=$!
  trap 'kill "$server" 2>/dev/null; rm -rf "$work"' EXIT
  for _ in $(seq 200); do
    grep -q Ctrl "$work/log" && break
    sleep 0.1
  done
  address=$(sed -n 's/^serving at //p' "$work/log")
  [ -n "$address" ] || { fail "it does not start: $(cat "$work/log")"; finish; }
}

finish() {
  if [ "$failures" -gt 0 ]; then
    echo "$failures checks failed" >&2
    exit 1
  fi
  echo "all checks passed"
}
