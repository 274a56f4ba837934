#!/usr/bin/env bash
# The program as a person types it: exit codes, one-line errors, machine output of every verb.
set -uo pipefail
cd "$(dirname "$0")/../.."
floe=build/release/floe
nano=models/floe-nano.gguf
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0 failed=0 skipped=0

pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); printf 'FAILED: %s\n' "$*"; }

# expect CODE PATTERN COMMAND...: exit code, and an extended regular expression that the output matches.
# A failing command must say what is wrong in exactly one line on stderr.
expect() {
  local code=$1 pattern=$2 status=0
  shift 2
  "$@" >"$scratch/out" 2>"$scratch/err" </dev/null || status=$?
  if [ "$status" -ne "$code" ]; then
    fail "$*: exit code $status instead of $code: $(head -c 300 "$scratch/err")"
  elif ! grep -qE -- "$pattern" "$scratch/out" "$scratch/err"; then
    fail "$*: no /$pattern/ in: $(head -c 300 "$scratch/out") $(head -c 300 "$scratch/err")"
  elif [ "$code" -ne 0 ] && [ "$(grep -c . "$scratch/err")" -ne 1 ]; then
    fail "$*: $(grep -c . "$scratch/err") lines on stderr instead of one"
  else
    pass
  fi
}
# same FOUND EXPECTED WHAT
same() { [ "$1" = "$2" ] && pass || fail "$3: expected '$2', found '$1'"; }
# has_keys COMMAND-OUTPUT-FILE KEY...: the output is JSON and its (first) object has the keys.
has_keys() {
  local file=$1
  shift
  if python3 -c '
import json, sys
value = json.load(open(sys.argv[1]))
value = value[0] if isinstance(value, list) else value
missing = [key for key in sys.argv[2:] if key not in value]
sys.exit("missing " + ", ".join(missing) if missing else 0)' "$file" "$@"; then pass; else fail "keys of $file: $*"; fi
}

# usage
"$floe" >/dev/null 2>&1; [ $? -eq 2 ] && pass || fail "floe without a verb: exit code 2"
expect 0 'floe VERB' "$floe" help
expect 0 'floe [0-9.]+ \(' "$floe" version
expect 0 'floe version' "$floe" help version
expect 0 'floe VERB' "$floe" help help
expect 0 'floe [0-9.]+ \(' "$floe" --version
expect 2 "unknown verb 'frobnicate': 'floe help' lists them" "$floe" frobnicate
expect 2 "unknown verb 'srve': did you mean serve\? 'floe help' lists them" "$floe" srve
expect 2 "unknown option --modle: did you mean --model\? 'floe help run' lists them" "$floe" run --modle x
expect 2 '^floe: --port: an option of serve, not of bench$' "$floe" bench --port 3
expect 2 '^floe: -hf a/b: floe downloads nothing' "$floe" serve -hf a/b
expect 0 '^floe: -ngl 99: ignored: (this build has no GPU|--device says)' "$floe" logits -m "$nano" --tokens 1 -ngl 99 --no-progress
expect 0 '^floe: -t 999: this process may use [0-9]+ physical cores?; more threads' "$floe" logits -m "$nano" --tokens 1 -t 999 --no-progress
expect 1 'x.gguf: needs [0-9.]+ GB, its file system has [0-9.]+ GB free$' "$floe" synth --like glm-5.2 --layers 512 --type F32 -o "$scratch/x.gguf" --no-progress
for verb in run serve bench batched-bench spec-bench logits tokenize synth inflate doctor; do
  expect 0 "environment: FLOE_ARG_" "$floe" help "$verb"
  expect 2 'unknown option --frobnicate' "$floe" "$verb" --frobnicate
done
expect 2 '^floe: -t: expected a whole number' "$floe" logits -m "$nano" --tokens 1 -t x
expect 2 '^floe: -t: expected .* after it' "$floe" logits -m "$nano" -t
expect 2 '^floe: -m: expected a model file' "$floe" logits --tokens 1
expect 2 'ids below 8192' "$floe" logits -m "$nano" --no-progress --tokens 8192
expect 2 'expected exactly one of -p and -f' "$floe" run -m "$nano"
expect 2 '^floe: -p, -n and -v are all 0' "$floe" bench -m "$nano" -p 0 -n 0
expect 2 "^floe: $scratch/empty.csv: expected rows" bash -c ": >'$scratch/empty.csv'; exec '$floe' bench -m '$nano' --compare '$scratch/empty.csv'"
expect 1 'nothere.json: cannot be read' "$floe" bench -m "$nano" --compare "$scratch/nothere.json"
expect 2 '^floe: -m: expected a model file' "$floe" batched-bench
expect 2 '^floe: -npl: expected' "$floe" batched-bench -m "$nano" -npl 0
expect 2 '^floe: --same and -pps' "$floe" batched-bench -m "$nano" --same -pps
expect 2 '^floe: --prompts: .*found none' "$floe" batched-bench -m "$nano" --prompts /dev/null
expect 1 'nothere.txt: cannot be read' "$floe" batched-bench -m "$nano" --prompts "$scratch/nothere.txt"
expect 2 'port' "$floe" serve -m "$nano" --port 99999
# An empty list of keys would let everybody in.
for list in , '' ',,' ' '; do
  expect 2 '^floe: --api-key: expected ' "$floe" serve -m "$nano" --port 0 --api-key "$list"
done
expect 2 '^floe: --api-key: expected a key' env FLOE_ARG_API_KEY= "$floe" serve -m "$nano" --port 0
expect 2 '^floe: --api-key: expected a key' env LLAMA_ARG_API_KEY=, "$floe" serve -m "$nano" --port 0
: >"$scratch/keys"
expect 2 'keys: holds no key$' "$floe" serve -m "$nano" --port 0 --api-key-file "$scratch/keys"
expect 2 '^floe: --api-key-file : cannot be read$' "$floe" serve -m "$nano" --port 0 --api-key-file ''
expect 2 '^floe: --alias: expected text without control characters$' "$floe" serve -m "$nano" --port 0 -a $'a\nb'
# Too little memory is exit code 4, whatever needs it first.
for kb in 60000 75000 90000 120000 150000 180000; do
  expect 4 '^floe: ' bash -c "ulimit -v $kb; exec '$floe' serve -m '$nano' --port 0 -c 262144 -np 16 --no-progress"
done
# What others can see of a running server: no key; and what the server itself gave up.
"$floe" serve -m "$nano" --port 0 -c 256 --api-key sekrit-1 --no-progress >"$scratch/out" 2>"$scratch/err" &
server=$!
for _ in $(seq 200); do grep -q 'is ready' "$scratch/out" && break; sleep 0.1; done
if grep -q 'is ready' "$scratch/out"; then pass; else fail "serve --api-key: not ready"; fi
if grep -q sekrit "/proc/$server/cmdline"; then fail "serve --api-key: the key is in the command line"; else pass; fi
if grep -q 'not sandboxed' "$scratch/err"; then
  skipped=$((skipped + 1))
else
  [ "$(grep -cE '^(NoNewPrivs:.1|Seccomp:.2)$' "/proc/$server/status")" -eq 2 ] && pass || fail "serve: no sandbox"
fi
kill "$server"; wait "$server" && pass || fail "serve: exit code $? after SIGTERM"
# A service manager hears that the model is loaded, and SIGHUP reads the keys again; a faulty file changes nothing.
printf 'first-key\n' >"$scratch/keys"
python3 - "$scratch/notify" >"$scratch/states" <<'PYTHON' &
import socket, sys
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(sys.argv[1])
listener.settimeout(60)
while True:
    state = listener.recv(4096).decode()
    print(state.replace("\n", " "), flush=True)
    if "STOPPING" in state: break
PYTHON
manager=$!
for _ in $(seq 100); do [ -S "$scratch/notify" ] && break; sleep 0.05; done
NOTIFY_SOCKET=$scratch/notify "$floe" serve -m "$nano" --port 0 -c 256 --api-key-file "$scratch/keys" --no-progress >"$scratch/out" 2>"$scratch/err" &
server=$!
for _ in $(seq 200); do grep -q 'is ready' "$scratch/out" && break; sleep 0.1; done
port=$(sed -n 's,^floe is ready: http://127.0.0.1:\([0-9]*\)/$,\1,p' "$scratch/out")
key_status() { curl -s -o /dev/null -w '%{http_code}' -H "X-Api-Key: $1" "http://127.0.0.1:$port/v1/models"; }
# after_hangup PATTERN: SIGHUP, and wait for the line that the server writes about it.
after_hangup() {
  local n=$(grep -cE "$1" "$scratch/err")
  kill -HUP "$server"
  for _ in $(seq 100); do [ "$(grep -cE "$1" "$scratch/err")" -gt "$n" ] && return; sleep 0.05; done
}
same "$(key_status first-key) $(key_status second-key)" "200 401" "keys at the start"
printf 'second-key\nthird-key\n' >"$scratch/keys"
after_hangup '2 keys read'
same "$(key_status first-key) $(key_status second-key) $(key_status third-key)" "401 200 200" "keys after SIGHUP"
printf 'a key\n' >"$scratch/keys"
after_hangup 'line 1: expected printable ASCII.*stay as they were'
same "$(key_status second-key)" 200 "keys after a faulty file"
kill "$server"; wait "$server" && pass || fail "serve: exit code $? after SIGTERM"
wait "$manager"
same "$(tr '\n' '|' <"$scratch/states")" "STATUS=loading the model|READY=1 STATUS=serving|STOPPING=1|" "what the service manager heard"
expect 2 'expected one of|expected .*qwen3' "$floe" synth --like gpt-9 -o "$scratch/x.gguf"
expect 2 '^floe: --prompts: expected' "$floe" spec-bench -m "$nano"
expect 2 "^floe: --arms: expected a whole number from 1 to 32, found '0x'" "$floe" spec-bench -m "$nano" --prompts bench/prompts --arms off,on:0x
expect 1 'nothere.jsonl: cannot be read' "$floe" spec-bench -m "$nano" --prompts "$scratch/nothere.jsonl"
printf '{"text":"a"}\n{"text":1}\n' >"$scratch/bad.jsonl"
expect 2 'bad.jsonl: line 2: text: expected a string' "$floe" spec-bench -m "$nano" --prompts "$scratch/bad.jsonl"
mkdir "$scratch/none"
expect 2 'expected .jsonl files, found none' "$floe" spec-bench -m "$nano" --prompts "$scratch/none"
expect 2 '^floe: -np: class bad has 1 prompts' bash -c "printf '{\"text\":\"a\"}\\n' >'$scratch/bad.jsonl'; exec '$floe' spec-bench -m '$nano' --prompts '$scratch/bad.jsonl' -np 2 --no-progress"
expect 2 '^floe: -o: expected a file' "$floe" inflate -m "$nano" --times 4
expect 2 '^floe: -m: expected a model file' "$floe" inflate --times 4 -o "$scratch/x.gguf"
expect 2 '^floe: --times: expected' "$floe" inflate -m "$nano" --times 1 -o "$scratch/x.gguf"
cp "$nano" "$scratch/own.gguf"
expect 2 'expected another file than the model' "$floe" inflate -m "$scratch/own.gguf" --times 2 -o "$scratch/own.gguf"
expect 1 'x.gguf: cannot (reserve [0-9]+ bytes|write): ' bash -c "trap '' XFSZ; ulimit -f 1000; exec '$floe' inflate -m '$nano' --times 2 -o '$scratch/x.gguf' --no-progress"
expect 3 'nothere.gguf' "$floe" inflate -m "$scratch/nothere.gguf" --times 2 -o "$scratch/x.gguf"
expect 1 'x.gguf: stopped by a signal' bash -c "'$floe' inflate -m '$nano' --times 8 -o '$scratch/x.gguf' --no-progress & while ! compgen -G '$scratch/x.gguf.tmp-*' >/dev/null; do sleep 0.01; done; kill -TERM \$!; wait \$!"
expect 1 'expected a regular file or none, found a folder' "$floe" synth --like gpt-oss-20b --layers 1 -o "$scratch/none" --no-progress
compgen -G "$scratch/x.gguf*" >/dev/null && fail "inflate left a file behind" || pass

# models that cannot be read
expect 3 'nothere.gguf' "$floe" logits -m "$scratch/nothere.gguf" --tokens 1
expect 3 "$scratch" "$floe" logits -m "$scratch" --tokens 1
: >"$scratch/empty.gguf"
expect 3 'empty.gguf' "$floe" logits -m "$scratch/empty.gguf" --tokens 1
head -c 100000 /dev/urandom >"$scratch/noise.gguf"
expect 3 'noise.gguf.*magic' "$floe" run -m "$scratch/noise.gguf" -p x
for cut in 3 24 1000 200000 5000000; do
  head -c "$cut" "$nano" >"$scratch/cut.gguf"
  expect 3 'cut.gguf' "$floe" serve -m "$scratch/cut.gguf" --port 0
done
# Another family is named before its vocabulary is looked at: here there is none.
python3 - "$scratch/family.gguf" <<'EOF'
import struct, sys
text = lambda s: struct.pack("<Q", len(s)) + s
header = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + text(b"general.architecture") + struct.pack("<I", 8) + text(b"mamba9")
header += text(b"token_embd.weight") + struct.pack("<IQIQ", 1, 32, 0, 0)
open(sys.argv[1], "wb").write(header + b"\0" * (-len(header) % 32) + b"\0" * 128)
EOF
for verb in "run -p x" "serve --port 0" "logits --tokens 1" "bench"; do
  # shellcheck disable=SC2086
  expect 3 'family.gguf: general.architecture: expected one of .*, found mamba9$' "$floe" $verb -m "$scratch/family.gguf"
done
mkfifo "$scratch/pipe.gguf"
expect 3 'pipe.gguf' "$floe" logits -m "$scratch/pipe.gguf" --tokens 1

# models that cannot fit
python3 tests/cli/sparse_model.py giant "$scratch/giant.gguf"
expect 4 'giant.gguf: needs [0-9.]+ GB \(weights [0-9.]+, KV cache of 1 tokens 0.0, workspace [0-9.]+\), [0-9.]+ GB are available: a file with fewer bits per weight might fit$' \
  "$floe" logits -m "$scratch/giant.gguf" --tokens 1
rm -f "$scratch/giant.gguf"

# The context: chosen where nobody says one, refused before the weights are read where it does not fit.
python3 tests/cli/sparse_model.py long "$scratch/long.gguf"
expect 4 'long.gguf: needs 2[0-9.]+ GB \(weights 0.0, KV cache of 262144 tokens 25.8, workspace [0-9.]+\), 2.0 GB are what --mem allows: -c [0-9]+.* would fit$' \
  "$floe" run -m "$scratch/long.gguf" -p x -c 262144 --mem 2
expect 4 'KV cache of 32768 tokens 3.2, .*: -c [0-9]+, -np 1( or .*)? would fit$' "$floe" serve -m "$scratch/long.gguf" --port 0 -c 8192 -np 4 --mem 1.5
expect 4 'KV cache of 65537 tokens 6.4, .* -ctk q8_0 -ctv q8_0' "$floe" bench -m "$scratch/long.gguf" -p 0 -n 1 -d 65536 --mem 4.5 --no-progress
expect 4 'KV cache of 65552 tokens 6.4, .*: -npl [0-9]+' "$floe" batched-bench -m "$scratch/long.gguf" -npp 4096 -ntg 1 -npl 16 --mem 3 --no-progress
"$floe" serve -m "$scratch/long.gguf" --port 0 --mem 1 --no-progress >"$scratch/out" 2>&1 &
server=$!
for _ in $(seq 300); do
  grep -q '^curl ' "$scratch/out" && break
  kill -0 "$server" 2>/dev/null || break
  sleep 0.1
done
n_context=$(sed -n 's/^floe: context \([0-9]*\) of the model.s 262144 tokens, a cache of [0-9]* tokens that 4 sequences share: what fits in 1.0 GB (.*); -c sets another$/\1/p' "$scratch/out")
address=$(sed -n 's,^floe is ready: http://\([^/]*\)/$,\1,p' "$scratch/out")
found=$(python3 -c 'import json, sys, urllib.request as u; print(json.load(u.urlopen(f"http://{sys.argv[1]}/props"))["default_generation_settings"]["n_ctx"])' "$address" 2>&1)
if [ -n "$n_context" ] && [ "$found" = "$n_context" ]; then pass; else fail "serve --mem 1: context '$n_context', /props says $found: $(head -c 600 "$scratch/out")"; fi
if grep -q '^chat is off because ' "$scratch/out" && grep -q '^curl .*/v1/completions ' "$scratch/out"; then pass; else fail "chat is off: $(head -c 600 "$scratch/out")"; fi
kill "$server" && wait "$server"
rm -f "$scratch/long.gguf"

# machine output
expect 0 '^\{"ids":\[[0-9,]+\]\}$' "$floe" tokenize -m "$nano" -p 'Hello, world'
expect 0 '^\{"ids":\[\]\}$' "$floe" tokenize -m "$nano" -p ''
printf '<|user|>' >"$scratch/text"
expect 0 '^\{"ids":\[[0-9]+\]\}$' "$floe" tokenize -m "$nano" -f "$scratch/text"
expect 0 '^\{"ids":\[[0-9]+,[0-9,]+\]\}$' "$floe" tokenize -m "$nano" -f "$scratch/text" --no-special

tokens=$(seq -s, 100 160)
reference=$("$floe" logits -m "$nano" --tokens "$tokens" --chunk 1 -t 1 2>/dev/null | grep -o '"hash":"[0-9a-f]*"')
for arguments in "--chunk 7 -t 1" "--chunk 16 -t 2" "--chunk 61 -t 2" "-t 3"; do
  # shellcheck disable=SC2086
  found=$("$floe" logits -m "$nano" --tokens "$tokens" $arguments 2>/dev/null | grep -o '"hash":"[0-9a-f]*"')
  if [ -n "$reference" ] && [ "$found" = "$reference" ]; then pass; else fail "logits $arguments: $found instead of $reference"; fi
done
found=$(FLOE_ISA=reference "$floe" logits -m "$nano" --tokens "$tokens" 2>/dev/null | grep -o '"hash":"[0-9a-f]*"')
if [ "$found" = "$reference" ]; then pass; else fail "scalar reference: $found instead of $reference"; fi
expect 0 '"argmax"' "$floe" logits -m "$nano" --tokens 1,2,3 -ctk f32
has_keys "$scratch/out" n_vocab argmax logits_last4 hash

expect 0 '"text"' "$floe" run -m "$nano" --chat -p 'Hello!' -n 8 --temp 0 --json
has_keys "$scratch/out" text tokens timings moe
cp "$scratch/out" "$scratch/first"
expect 0 '"prompt_n": ?[0-9]' "$floe" run -m "$nano" --chat --chat-template '{{ messages[0].content }}' -p 'Hello!' -n 1 --temp 0 --json
expect 2 '--chat-template: expected qwen3, chatml' "$floe" run -m "$nano" --chat --chat-template alpaca -p x
expect 2 'chat template, line 1' "$floe" run -m "$nano" --chat --chat-template '{% include x %}' -p x
expect 2 'goes with --chat' "$floe" run -m "$nano" --chat-template floe-nano -p x
expect 2 '--no-jinja' "$floe" serve -m "$nano" --no-jinja
expect 2 'expected true or false' "$floe" serve -m "$nano" --chat-template-kwargs '{"enable_thinking": 1}'
expect 0 '"text"' "$floe" run -m "$nano" --chat -p 'Hello!' -n 8 --temp 0 --json -t 1
if [ "$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["tokens"] == json.load(open(sys.argv[2]))["tokens"])' "$scratch/out" "$scratch/first")" = True ]; then
  pass
else
  fail "greedy tokens differ between runs"
fi

expect 0 '13\.[0-9] times' "$floe" inflate -m "$nano" --times 4 -o "$scratch/nano4.gguf" --no-progress
found=$("$floe" logits -m "$scratch/nano4.gguf" --tokens "$tokens" --no-progress 2>/dev/null | grep -o '"hash":"[0-9a-f]*"')
if [ "$found" = "$reference" ]; then pass; else fail "inflated 4 times: $found instead of $reference"; fi
expect 0 '9\.[0-9] times' "$floe" inflate -m models/floe-nano-eagle3 --times 4 -o "$scratch/head4" --no-progress
mkdir "$scratch/indexed" && : >"$scratch/indexed/model.safetensors.index.json"
expect 2 'expected a folder without model.safetensors.index.json' "$floe" inflate -m models/floe-nano-eagle3 --times 4 -o "$scratch/indexed" --no-progress
expect 0 'on:2' "$floe" spec-bench -m "$scratch/nano4.gguf" --model-eagle3 "$scratch/head4" --prompts bench/prompts/prose.jsonl --arms on:2 -n 4 -r 1 --no-progress
expect 3 'target_hidden_size|fc.weight: expected' "$floe" spec-bench -m "$scratch/nano4.gguf" --model-eagle3 models/floe-nano-eagle3 --prompts bench/prompts/prose.jsonl --no-progress
rm -rf "$scratch/nano4.gguf" "$scratch/own.gguf" "$scratch/head4"

expect 0 'B parameters' "$floe" synth --like qwen3-30b-a3b --layers 1 --experts 8 --vocab 512 --type Q4_0 -o "$scratch/synth.gguf"
expect 0 '"test":"pp16"' "$floe" bench -m "$scratch/synth.gguf" -p 16 -n 2 -v 1,2 -r 1 -o json
has_keys "$scratch/out" build_commit model_filename model_type n_prompt n_gen n_depth avg_ns stddev_ns avg_ts \
  stddev_ts samples_ns samples_ts gb_s floor_ts pct_floor experts_union bytes
"$floe" bench -m "$scratch/synth.gguf" -p 16 -n 2 -v 1,2 -r 1 -o csv --no-progress >"$scratch/earlier.csv" 2>/dev/null
expect 0 '\| pp16 \|.*\| v2 \|' bash -c "'$floe' bench -m '$scratch/synth.gguf' -p 16 -n 0 -v 2 -r 1 --no-progress --compare '$scratch/earlier.csv' | sed -n '/earlier/,\$p' | tr '\n' ' '"
expect 0 'warning: threads differs: 1 here, 2 earlier' "$floe" bench -m "$scratch/synth.gguf" -p 16 -n 0 -r 1 -t 1 -o json \
  --no-progress --compare "$scratch/earlier.csv"
has_keys "$scratch/out" pct_floor
printf 'one two\n\nthree\n' >"$scratch/prompts"
expect 0 '"is_pp_shared":0' "$floe" batched-bench -m "$nano" -npp 8 -ntg 2 -npl 2 --prompts "$scratch/prompts" -o jsonl --no-progress
has_keys "$scratch/out" pp tg pl n_kv t_pp speed_pp t_tg speed_tg t speed union gb_s pct_floor
expect 0 '2 prompts for 3 sequences' "$floe" batched-bench -m "$nano" -npp 8 -ntg 2 -npl 3 --prompts "$scratch/prompts" --no-progress
expect 0 'S_TG t/s' "$floe" batched-bench -m "$scratch/synth.gguf" -npp 8 -ntg 2 -npl 1,2 -pps --no-progress
expect 2 '^floe: -npp and -ntg: 4097 tokens' "$floe" batched-bench -m "$nano" -npp 4096 -ntg 1 -npl 1 --no-progress
rm -f "$scratch/synth.gguf"
head -n 2 bench/prompts/dialogue.jsonl >"$scratch/none/talk.jsonl"
expect 0 '"class":"talk"' "$floe" spec-bench -m "$nano" --prompts "$scratch/none" --arms on:2 -np 1,2 -n 12 -r 1 -o json --no-progress
has_keys "$scratch/out" model_type class np arm tokens_per_second ratio ratios tokens_per_forward drafted accepted acceptance \
  accepted_by_position mean_rows mean_union forward_ms predicted_ms draft_share worst_window_ratio
expect 0 '\| talk \| 1 \| on:2 \|' "$floe" spec-bench -m "$nano" --prompts "$scratch/none/talk.jsonl" --arms off,on:2,off -n 12 -r 1 --no-progress
[ "$(grep -c '^| talk | 1 | off |' "$scratch/out")" = 2 ] && pass || fail "spec-bench --arms off,off: not measured twice"
if command -v script >/dev/null; then expect 0 '^cpu  ' script -qec "$floe doctor" /dev/null; else skipped=$((skipped + 1)); fi
expect 0 '"read_gb_s"' "$floe" doctor
has_keys "$scratch/out" cpu isa cores ram_bytes read_gb_s int8_gmac_s hugepages numa warnings

printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
