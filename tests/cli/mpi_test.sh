#!/usr/bin/env bash
# Training over two processes: the losses of one process with the same batches, and resuming with another number.
. "$(dirname "$0")/check.sh"

command -v mpirun >/dev/null || { echo "mpirun is not installed: skipped"; exit 0; }
ldd "$fledge" | grep -q libmpi || { echo "fledge was built without MPI: skipped"; exit 0; }
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
two() { timeout 120 mpirun --oversubscribe --bind-to none -n 2 "$fledge" "$@" >"$work/out" 2>"$work/err" </dev/null; code=$?; err=$(cat "$work/err"); }

mkdir "$work/home"
cd "$work/home"
for line in $(seq 1 300); do echo "Line $line: number $((line * 7919 % 1000)) of the sea and $((line % 13)) seas."; done >text.txt
run tokenizer train --kind bpe --vocab-size 300 --input text.txt --out tokenizer
run data prepare --input text.txt --tokenizer tokenizer --out data
expect_code 0
cat >recipe.toml <<'RECIPE'
precision = "f32"
steps = 10
[model]
n_layer = 2
n_head = 2
n_embd = 32
n_positions = 32
embd_pdrop = 0.1
[data]
path = "data"
[optimizer]
learning_rate = 1e-3
[schedule]
kind = "constant"
[batch]
sequences = 8
sequence_length = 32
micro_sequences = 2
[evaluation]
every = 5
[checkpoints]
every = 5
keep_last = 10
RECIPE

# Sums over processes are taken in another order than sums over micro-batches: rounding may differ, and no more.
losses() { sed -n 's/.*"loss":\([0-9.e-]*\).*/\1/p' "$1/metrics.jsonl"; }
same_losses() {
  [ "$(losses "$1" | wc -l)" -eq 10 ] || fail "$1 has not 10 losses"
  paste <(losses "$1") <(losses "$2") | awk '{ d = $1 - $2; if (d < 0) d = -d; if (!($2 > 0) || d > 1e-5 * $1) exit 1 }' ||
    fail "the losses of $1 and $2 differ"
}
run train recipe.toml --set run.out=one
expect_code 0
two train recipe.toml --set run.out=two
expect_code 0
same_losses one two

# Stopped with two processes and resumed with one, and the other way round.
for way in shrink grow; do
  cp -r two $way
  [ $way = grow ] && { rm -r grow; cp -r one grow; }
  rm -r $way/checkpoints/step-000010
  if [ $way = shrink ]; then run train recipe.toml --set run.out=$way --resume; else two train recipe.toml --set run.out=$way --resume; fi
  expect_code 0
  same_losses one $way
done

# An error in the processes ends the run with one sentence, keeps the exit code and does not hang.
two train recipe.toml --set run.out=odd --set batch.sequences=3 --set batch.micro_sequences=1
[ "$code" -ne 0 ] && [ "$code" -ne 124 ] || fail "three sequences over two processes: exit code $code"
two train missing.toml
expect_code 1
[ "$(grep -c '^fledge: ' "$work/err")" -eq 1 ] || fail "not one sentence: $err"
expect_in err "missing.toml"
two train recipe.toml --set run.out=two
expect_code 2
[ "$(grep -c '^fledge: ' "$work/err")" -eq 1 ] || fail "not one sentence: $err"

# Threads that the user asked for are kept.
OMP_NUM_THREADS=3 two train recipe.toml --set run.out=threads
expect_code 0
expect_in err "3 threads in each of 2 processes"

finish
