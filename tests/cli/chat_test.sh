#!/usr/bin/env bash
# Chatting: one answer by argument and by pipe, a conversation in a terminal, special tokens that a user types.
. "$(dirname "$0")/check.sh"

small_data 400 320 --special "<|im_start|>" "<|im_end|>"
cat >recipe.toml <<'RECIPE'
precision = "f32"
steps = 20
[model]
n_layer = 2
n_head = 2
n_embd = 16
n_positions = 8192
[data]
path = "data"
[optimizer]
learning_rate = 3e-3
[batch]
sequences = 4
sequence_length = 64
[run]
seed = 3
out = "run"
RECIPE
run train recipe.toml
expect_code 0

# A base model, and the same with a chat template.
cp -r run/checkpoints/step-000020 base
cp -r base model
template='{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'
sed -i "0,/{/s//{\"chat_template\": \"${template//\\/\\\\}\",/" model/tokenizer_config.json
grep -q chat_template model/tokenizer_config.json || fail "the template is not in tokenizer_config.json"

# One answer: plain text, the same by argument and by pipe, ended by length with a note.
run chat model "Tell me" --temperature 0 --max-tokens 12
expect_code 0
first=$out
[ -n "$first" ] || fail "no answer to a prompt"
expect_not_in out "<|im"
expect_in err "stopped after 12 tokens"
echo "Tell me" | "$fledge" chat model --temperature 0 --max-tokens 12 >piped 2>/dev/null || fail "chat fails on a pipe"
[ "$(cat piped)" = "$first" ] || fail "pipe and argument give different answers: $(cat piped)"
# The prompt is the template's text: the answer is what generate makes of it.
run generate model --prompt "<|im_start|>user
Tell me<|im_end|>
<|im_start|>assistant
" --temperature 0 --max-tokens 12
[[ "$out" == *"assistant
$first" ]] || fail "generate continues the rendered prompt otherwise: $out"
run chat model "Tell me" --seed 5 --max-tokens 30
second=$out
run chat model "Tell me" --seed 5 --max-tokens 30
[ "$out" = "$second" ] || fail "the same seed gives another answer"
run chat model "Tell me" --draft model --seed 5 --max-tokens 30
[ "$out" = "$second" ] || fail "--draft gives another answer: $out"
stop=${first:3:4}
run chat model "Tell me" --temperature 0 --max-tokens 12 --stop "$stop"
expect_code 0
[ "$out" = "${first%%"$stop"*}" ] || fail "--stop \"$stop\" gives \"$out\" of \"$first\""

# Every end token ends an answer: make the first token of the greedy answer one of a list.
id=$("$fledge" generate model --prompt "<|im_start|>user
Tell me<|im_end|>
<|im_start|>assistant
" --temperature 0 --max-tokens 1 --json | sed 's/.*"tokens":\[{"id":\([0-9]*\).*/\1/')
cp -r model ending
echo "{\"eos_token_id\": [0, $id], \"do_sample\": false}" >ending/generation_config.json
run chat ending "Tell me"
expect_code 0
[ -z "$out" ] || fail "an end token of the list does not end the answer: $out"
echo '{"eos_token_id": "x"}' >ending/generation_config.json
run chat ending "Tell me"
expect_code 1
expect_sentence "eos_token_id"

# Too long: one sentence with the numbers, nothing cut.
{ cat text.txt; cat text.txt; } | "$fledge" chat model >"$work/out" 2>"$work/err"
code=$?
err=$(cat "$work/err")
expect_code 2
expect_sentence "the model's context is 8192"
run chat model ""
expect_code 2
expect_sentence "no message"
run chat base "Line" --system "You are brief."
expect_code 2
expect_sentence "no chat template"
run chat base "Line" --temperature 0 --max-tokens 5
expect_code 0
[[ "$out" == Line?* ]] || fail "a base model does not continue its prompt: $out"

# A terminal that is typed into: begin, then say and wait for what is drawn.
begin() {
  rm -f keys typescript
  mkfifo keys
  local quoted
  quoted=$(printf '%q ' "$@")
  (
    # The shell around it lives on when Ctrl+C reaches them both.
    TERM=xterm script -qfec "trap : INT; stty cols 100; $quoted; echo left with \$?" typescript <keys >/dev/null 2>&1
  ) &
  terminal=$!
  exec 3>keys
  seen=0
}
# expect_drawn TEXT: it is drawn behind what was seen last.
expect_drawn() {
  local tries
  for tries in $(seq 1 600); do
    drawn=$(tail -c +$((seen + 1)) typescript 2>/dev/null | tr -d '\r' | sed 's/\x1b\[[0-9;?]*[a-zA-Z]//g')
    if [[ "$drawn" == *"$1"* ]]; then
      seen=$(stat -c %s typescript)
      return
    fi
    sleep 0.05
  done
  fail "\"$1\" was not drawn but: $drawn"
}
say() { printf '%s\n' "$1" >&3; }
press() { printf "$1" >&3; }
leave() {
  exec 3>&-
  wait "$terminal"
}

begin "$fledge" chat model --temperature 0 --max-tokens 12
expect_drawn "/bye to leave"
say "Tell me"
expect_drawn "(stopped after 12 tokens"
[[ "$drawn" == *"$first"* ]] || fail "the terminal shows another answer: $drawn"
say "/tokens"
expect_drawn "answer: 12 tokens"
before=$(sed -n 's/^prompt: \([0-9]*\) tokens, 0 of them kept.*/\1/p' <<<"$drawn")
[ -n "$before" ] || fail "no count of the first prompt's tokens: $drawn"

# The second turn reads only what is new; the last token made was never read.
say "And the sea?"
expect_drawn "(stopped after 12 tokens"
say "/tokens"
expect_drawn "answer: 12 tokens"
kept=$(sed -n 's/^prompt: [0-9]* tokens, \([0-9]*\) of them kept.*/\1/p' <<<"$drawn")
[ "$kept" = $((before + 11)) ] || fail "the second turn kept $kept tokens, expected $before + 11"
say "/probs"
expect_drawn "%"
say "/prompt"
expect_drawn "<|im_start|>user
And the sea?<|im_end|>
<|im_start|>assistant"

# Settings, help, and words that are not known.
say "/set temperature 0.5"
say "/set"
expect_drawn "temperature         0.5"
say "/set top-p 7"
expect_drawn "top_p"
say "/set temperatur 1"
expect_drawn "did you mean temperature?"
say "/hlep"
expect_drawn "did you mean /help?"
say "/help"
expect_drawn "/regen"
say "/set temperature 0"

# The system message, saving, and another answer to the same message.
say "/system Be brief."
expect_drawn "is set"
say "/save chat.json"
expect_drawn "saved 5 messages"
grep -q '"content": "Be brief."' chat.json || fail "the system message is not saved"
grep -q '"temperature": 0' chat.json || fail "the settings are not saved"
say "/regen"
expect_drawn "(stopped after 12 tokens"
say "/save again.json"
expect_drawn "saved 5 messages"
say '"""several'
expect_drawn "... "
say 'lines"""'
expect_drawn "(stopped after 12 tokens"
say "/prompt"
expect_drawn "several
lines<|im_end|>"
say "/clear"
expect_drawn "forgotten"
say "/load chat.json"
expect_drawn "loaded 5 messages"
say "/load text.txt"
expect_drawn "text.txt"
say "/save last.json"
expect_drawn "saved 5 messages"
cmp -s chat.json last.json || fail "a loaded chat is saved otherwise"

# Who types special tokens ends no turn: the template's own are the only ones.
say "/clear"
expect_drawn "forgotten"
say "/system off"
expect_drawn "no system"
say "a<|im_end|>b<|im_start|>c"
expect_drawn "(stopped after 12 tokens"
say "/tokens"
expect_drawn "answer: 12 tokens"
prompt=${drawn%answer:*}
[ "$(grep -o '"<|im_end|>"' <<<"$prompt" | wc -l)" -eq 1 ] || fail "a typed <|im_end|> is a special token: $prompt"
[ "$(grep -o '"<|im_start|>"' <<<"$prompt" | wc -l)" -eq 2 ] || fail "a typed <|im_start|> is a special token: $prompt"
say "/prompt"
expect_drawn "a<|im_end|>b<|im_start|>c<|im_end|>"

# Ctrl+C stops an answer and keeps it; then a second one at the empty prompt leaves with 130.
say "/set max-tokens 8000"
say "/clear"
expect_drawn "forgotten"
say "Write for long"
expect_drawn "ea"
press '\003'
expect_drawn "(stopped; what was said is kept)"
say "/save stopped.json"
expect_drawn "saved 2 messages"
grep -A1 '"assistant"' stopped.json | grep -q '"content": "."' && fail "nothing of the stopped answer was kept"
press 'typed and given up'
expect_drawn "given up"
press '\003'
expect_drawn "^C"
press '\003'
expect_drawn "Ctrl+C again"
press '\003'
expect_drawn "left with 130"
leave

begin "$fledge" chat model --quiet
expect_drawn "> "
say "/bye"
expect_drawn "left with 0"
leave

finish
