#!/usr/bin/env bash
# Runs the program as people and scripts do: exit codes, streams, one-line errors, files, signals.
#
#   test_cli.sh SLUICE DEMO_FOLDER GOLDEN_MODELS [JSON_LINES]
#
# SLUICE is the program, DEMO_FOLDER the demo model, GOLDEN_MODELS tests/golden/models, JSON_LINES the helper that is
# built from json_lines.c (without it the contents of JSON are not looked at).
set -u

sluice=$1 demo=$2 models=$3 json_lines=${4:-}
golden=$models/../verify
tiny=$models/qwen3-moe-hub-bf16
dense=$models/llama3-hub-bf16
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=$work/out err=$work/err
checks=0 failures=0

# check WHAT COMMAND...: the command must succeed.
check() {
    local what=$1
    shift
    checks=$((checks + 1))
    if ! "$@"; then
        failures=$((failures + 1))
        printf 'FAILED: %s\n' "$what"
        sed 's/^/    stderr: /' "$err" | head -n 5
    fi
}

# not COMMAND...: succeeds when the command fails.
not() { ! "$@"; }

# run ARGUMENT...: runs the program with nothing on standard input; leaves $out, $err and $code.
run() {
    "$sluice" "$@" >"$out" 2>"$err" </dev/null
    code=$?
}

# refuse CODE PATTERN ARGUMENT...: must fail with this code, one line and no output.
refuse() {
    local expected=$1 pattern=$2
    shift 2
    run "$@"
    check "'$*' gives exit code $expected, not $code" test "$code" = "$expected"
    check "'$*' prints one line" test "$(wc -l <"$err")" = 1
    check "'$*' prints the line 'error: $pattern'" grep -qE "^error: $pattern" "$err"
    check "'$*' prints no result" test ! -s "$out"
}

accept() {
    run "$@"
    check "'$*' gives exit code 0, not $code" test "$code" = 0
}

# json KEY: what the JSON lines of $out say.
json() { "$json_lines" "$1" <"$out"; }

# stat_hash: the hash that --stats printed.
stat_hash() { sed -n 's/^logits *hash \([0-9a-f]\{16\}\)$/\1/p' "$err"; }

# magic FILE: the first bytes of an .npy file, and dict FILE: its header.
magic() { head -c 8 "$1" | od -An -tx1 | tr -d ' \n'; }
dict() { head -c 128 "$1" | tail -c +11 | tr -d '\0' | sed 's/ *$//'; }

test_help() {
    accept --help
    check "help names every command" \
        test "$(grep -cE '^  (run|inspect|tokenize|logits|verify|quantize|bench|profile|trace|stats) ' "$out")" = 10
    check "help says nothing on standard error" test ! -s "$err"
    accept --version
    check "version" grep -qE '^sluice [0-9]+\.[0-9]+\.[0-9]+$' "$out"
    for command in run inspect tokenize logits verify quantize bench trace stats; do
        accept help "$command"
        cp "$out" "$work/help"
        accept "$command" --help
        check "two ways to the help of $command" cmp -s "$out" "$work/help"
        check "help of $command has its usage" grep -q "^usage: sluice $command " "$out"
    done
}

test_usage_errors() {
    refuse 1 'no command is named'
    refuse 1 'unknown command "inspekt", did you mean inspect\?' inspekt
    refuse 1 'unknown command "x\\n"' $'x\n'
    refuse 1 'unknown option "--tmep", did you mean --temp\?' run "$demo" --tmep 1
    refuse 1 'unknown option "-z"' run "$demo" -z
    refuse 1 '-n: found -1, expected 0\.\.1000000$' run "$demo" -p x -n -1
    refuse 1 '-n: found "many", expected a whole number' run "$demo" -p x -n many
    refuse 1 '-n: found 1000001' run "$demo" -p x --n-tokens 1000001
    refuse 1 '--top-k: found -1, expected 0\.\.' run "$demo" -p x --top-k -1
    refuse 1 '--top-p: found 0, expected 0 < P <= 1' run "$demo" -p x --top-p 0
    refuse 1 '--min-p: found 1, expected 0 <= P < 1' run "$demo" -p x --min-p=1
    refuse 1 '--temp: found "nan"' run "$demo" -p x --temp nan
    refuse 1 '-t: found 0, expected 1\.\.256' run "$demo" -p x -t0
    refuse 1 '-m: MODEL is already named' run "$demo" -m "$demo" -p x
    refuse 1 'unexpected argument "b"' run a b
    refuse 1 '-p and -f exclude each other' run "$demo" -p x -f y
    refuse 1 '--tokens and -p exclude each other' run "$demo" -p x --tokens 1
    refuse 1 '--tokens: found "x", expected a token id' run "$demo" --tokens 1,x
    refuse 1 '--tokens: names no token id' run "$demo" --tokens ' , '
    refuse 1 '--tokens: found "4294967296"' run "$demo" --tokens 4294967296
    refuse 1 'no text is given: use -p TEXT, -f FILE or a pipe' run "$demo"
    refuse 1 '-m MODEL is missing' inspect
    refuse 1 '-o OUT.npy is missing' logits "$tiny" --tokens 1
    refuse 1 'name either a second model or --reference FILE' verify "$tiny"
    refuse 1 '--cache-type: found "q4", expected f32, f16, bf16 or q8_0' run "$demo" -p x --cache-type q4
    refuse 1 '--cache-type: found "", expected' logits "$tiny" --tokens 1 -o "$work/x.npy" --cache-type ''
    refuse 1 '--prefill: found 0, expected 1\.\.' bench "$demo" --prefill 1,0
    refuse 1 '--prefill: found "", expected a whole number' bench "$demo" --prefill 1,,2
    refuse 1 '--context: found "x", expected a whole number' bench "$demo" --context x
    refuse 1 '--context: found -1, expected 0\.\.' bench "$demo" --context -1
    refuse 1 '--decode: found 0, expected 1\.\.' bench "$demo" --decode 0
    refuse 1 '--repeat: found 0, expected 1\.\.101' bench "$demo" --repeat 0
    refuse 1 '--json and --csv exclude each other' bench "$demo" --json --csv
    refuse 1 '--prefill: found 1025, this model has 1024 positions' bench "$demo" --prefill 1025
    refuse 1 '--context: found 1000, and the tokens of --decode, this model has 1024 positions' \
        bench "$demo" --context 0,1000 --decode 32
    refuse 1 '--decode: found 2000, this model has 1024 positions' bench "$demo" --decode 2000
    refuse 3 '' bench "$work/missing"
    refuse 1 '-c: found 99999999' inspect "$tiny" -c 99999999
}

test_bad_inputs() {
    refuse 3 '' run "$work/missing" -p x
    refuse 3 '' inspect "$work/missing"
    refuse 1 'the name of the model is empty' inspect ''
    refuse 3 '-f ".*missing": No such file or directory' run "$demo" -f "$work/missing"
    refuse 3 '-f ".*": Is a directory' run "$demo" -f "$work"
    refuse 1 '-p: not UTF-8 at byte 2 \(0xff\)' run "$demo" -p $'ab\xff'
    printf 'ab\xc3' >"$work/cut"
    refuse 1 '-f ".*cut": not UTF-8 at byte 2 \(0xc3\)' run "$demo" -f "$work/cut"
    refuse 1 '--stop: not UTF-8 at byte 0' run "$demo" -p x --stop $'\xff'
    refuse 1 '--stop: the text is empty' run "$demo" -p x --stop ''
    refuse 1 '-p: the prompt is empty' run "$demo" -p ''
    refuse 1 '' run "$demo" --tokens 1,99999999
    refuse 1 'the prompt has 3 tokens, the context 2' run "$demo" --tokens 1,2,3 -c 2
    refuse 1 '-c: found 1000000, this model has 1\.\.' run "$demo" -p x -c 1000000
    refuse 1 '' run "$tiny" -p 'a model without tokenizer'
    refuse 1 '--stop: this model has no tokenizer' run "$tiny" --tokens 1 --stop x
    refuse 1 '--decode: no token has the id 99999999' tokenize "$demo" --decode 1,99999999
    mkdir -p "$work/broken"
    printf '{"model_type": "qwen3_moe",' >"$work/broken/config.json"
    refuse 2 '' run "$work/broken" -p x
    refuse 2 '' inspect "$work/broken"
}

test_full_and_closed_outputs() {
    local arguments
    for arguments in "run $demo -p Once -n 4" "run $demo -p Once -n 4 --json" "inspect $demo" "inspect $demo --json" \
        "tokenize $demo -p Once" "verify $tiny --reference $golden/qwen3-moe-hub-bf16.safetensors" --help --version; do
        # shellcheck disable=SC2086 # words on purpose
        "$sluice" $arguments >/dev/full 2>"$err" </dev/null
        check "'$arguments' on a full disk gives exit code 3" test $? = 3
        check "'$arguments' on a full disk says so" grep -q '^error: standard output: No space left on device$' "$err"
        check "'$arguments' on a full disk prints one line" test "$(wc -l <"$err")" = 1
        # shellcheck disable=SC2086
        "$sluice" $arguments >&- 2>"$err" </dev/null
        check "'$arguments' on a closed output gives exit code 3" test $? = 3
    done
    { "$sluice" run "$demo" -p Once -n 200 --ignore-eos --json 2>"$err" </dev/null; echo $? >"$work/code"; } |
        head -n 1 >"$out"
    check "a reader that goes away gives exit code 3" test "$(cat "$work/code")" = 3
    check "a reader that goes away gives one line" grep -q '^error: standard output: Broken pipe$' "$err"
}

test_run() {
    accept run "$demo" -p 'Once upon a time' -n 24 --seed 7 --stats
    cp "$out" "$work/text"
    local hash threads
    hash=$(stat_hash)
    check "there is text" test -s "$out"
    check "the prompt is not repeated" not grep -q '^Once upon' "$out"
    check "statistics are on standard error" grep -qE '^decode +23 tokens' "$err"
    check "experts are counted" grep -qE '^experts +[0-9]+ of [0-9]+ \(layer, expert\) pairs touched' "$err"
    check "the seed is printed" grep -qE '^finish .* seed 7$' "$err"
    check "the hash has 16 digits" test ${#hash} = 16
    for threads in 1 2 3; do
        accept run "$demo" -p 'Once upon a time' -n 24 --seed 7 --stats -t "$threads"
        check "$threads threads give the same text" cmp -s "$out" "$work/text"
        check "$threads threads give the same logits" test "$(stat_hash)" = "$hash"
    done
    accept run "$demo" -p 'Once upon a time' -n 24 --seed 8 --temp 1.5 --stats
    check "another seed gives another text" not cmp -s "$out" "$work/text"

    printf 'Once upon a time' >"$work/prompt"
    accept run -m "$demo" -f "$work/prompt" -n24 --seed=7
    check "-f gives the same text" cmp -s "$out" "$work/text"
    "$sluice" run "$demo" -n 24 --seed 7 <"$work/prompt" >"$out" 2>"$err"
    check "a file on standard input gives the same text" cmp -s "$out" "$work/text"
    head -c 100 "$work/prompt" | "$sluice" run "$demo" -f - -n 24 --seed 7 >"$out" 2>"$err"
    check "a pipe gives the same text" cmp -s "$out" "$work/text"

    accept run "$demo" -p Once -n 0 --stats
    check "-n 0 prints no text" test ! -s "$out"
    check "-n 0 still reads the prompt" grep -qE '^prefill +[1-9]' "$err"
    accept run "$demo" -p 'Once upon a time' -n 50 --temp 0 -c 8 --ignore-eos
    check "a full context ends the run" grep -q '^finish   context after' "$err"
    accept run -n 2
    check "without a prompt the demo model has one" grep -q '^note: .*"Once upon a time there was a king who"$' "$err"
}

test_stop() {
    accept run "$demo" -p 'Once upon a time' -n 40 --temp 0 --ignore-eos
    cp "$out" "$work/long"
    local stop
    stop=$(head -c 14 "$work/long" | tail -c 4)
    accept run "$demo" -p 'Once upon a time' -n 40 --temp 0 --ignore-eos --stop '<never>' --stop "$stop"
    check "a stop text ends the run" grep -q '^finish   stop after' "$err"
    check "the stop text is not printed" not grep -qF -- "$stop" "$out"
    check "what comes before it is printed" cmp -s -n "$(wc -c <"$out")" "$out" "$work/long"
}

test_tokens_in_and_out() {
    accept run "$tiny" --tokens 1,2,3 -n 6 --temp 0 --ignore-eos
    check "token ids come out" grep -qE '^[0-9]+( [0-9]+){5}$' "$out"
    cp "$out" "$work/ids"
    accept run "$tiny" --tokens '1 2 3' -n 6 --temp 0 --ignore-eos --chunk 1
    check "the chunk does not matter" cmp -s "$out" "$work/ids"
    accept run "$tiny" --tokens 1,2,3 -n 6 --temp 0 --ignore-eos --json
    [ -n "$json_lines" ] && check "JSON has the same ids" test "$(json token | tr '\n' ' ')" = "$(cat "$work/ids") "
}

test_json() {
    [ -n "$json_lines" ] || return 0
    accept run "$demo" -p 'Once upon a time' -n 24 --seed 7 --stats --json
    check "every line is an object" "$json_lines" "" <"$out"
    check "the texts add up to the text" test "$(json text)" = "$(cat "$work/text")"
    check "the seed is in the summary" test "$(json summary.seed)" = 7
    check "the hash is in the summary" test "$(json summary.logits_hash)" = "$(stat_hash)"
    check "the reason is in the summary" grep -qE '"finish_reason": "(length|eos)"' "$out"
    accept inspect "$demo" --json
    check "inspect counts layers" test "$(json n_layers)" -gt 0
    check "inspect says whether it fits" test "$(json memory.fits)" = yes
    accept tokenize "$demo" --json -p $'h\xc3\xa9'
    check "tokenize gives an object" test -n "$(json ids)"
    accept tokenize "$demo" --json --decode "$(json ids | tr -d '[]\n')"
    check "and back" test "$(json text)" = $'h\xc3\xa9'
    accept verify "$tiny" --reference "$golden/qwen3-moe-hub-bf16.safetensors" --json
    check "verify gives an object" test "$(json agrees)" = true
}

test_inspect() {
    accept inspect "$demo"
    check "inspect folds equal layers" grep -qE '^  layers 0-[0-9]+: ' "$out"
    check "inspect ends with the answer" test "$(tail -n 1 "$out")" = 'fits here: yes'
    accept inspect "$demo" --layers -c 16
    check "inspect --layers does not fold" not grep -qE '^  layers 0-' "$out"
    check "inspect --layers shows every layer" grep -q '^  layer 1: ' "$out"
    check "-c reaches the forecast" grep -q 'session of 16 tokens' "$out"
    accept inspect "$demo" --kernels
    check "--kernels names layouts and kernels" grep -qE '^expert gate +BF16 \[256, 256\] x 80 -> bf16_' "$out"
    check "--kernels gives the kernel of one row" grep -qE '^    from 1 row bf16_[a-z0-9_]+: (float|products)' "$out"
    SLUICE_CPU=scalar accept inspect "$demo" --kernels
    check "--kernels says what is missing" grep -qE '^        not bf16_[a-z0-9_]+: needs .*, not usable here$' "$out"
    accept inspect "$dense"
    check "a dense model has no experts" not grep -q '^experts' "$out"
}

test_tokenize() {
    accept tokenize "$demo" -p $'a "b"\n'
    check "pieces are quoted" not grep -qvE '^ *[0-9]+  ".*"$' "$out"
    check "newlines are escaped" grep -qF '\n' "$out"
    local ids
    ids=$(awk '{ print $1 }' "$out" | tr '\n' ',')
    accept tokenize "$demo" --decode "${ids%,}"
    check "decoding gives the text back" test "$(cat "$out"; echo .)" = $'a "b"\n.'
    accept tokenize "$demo" -p ''
    refuse 1 '--decode and -p exclude each other' tokenize "$demo" --decode 1 -p x
    refuse 1 '-p: not UTF-8 at byte 0' tokenize "$demo" -p $'\xff'
}

test_bench() {
    accept bench "$demo" --prefill 1,8 --context 0,16 --decode 2 --repeat 1
    check "bench tells the roofs" grep -qE '^roofs +reads [0-9.]+ GB/s, int8 ' "$out"
    check "bench has a line per prompt" grep -qE '^ +8 +[0-9.]+ +[0-9.]+ +[0-9.]+  [#.]{10} +[0-9]+ %' "$out"
    check "bench has a line per context" grep -qE '^ +16 +[0-9.]+ +[0-9.]+ +[0-9.]+  [#.]{10}' "$out"
    check "bench says nothing else" test ! -s "$err"
    accept bench "$demo" --prefill 1 --context 0 --decode 1 --repeat 1 --csv
    check "CSV has a header and two lines" test "$(wc -l <"$out")" = 3
    check "CSV lines have the columns of the header" \
        test "$(tr -cd ',\n' <"$out" | awk '{ print length }' | sort -u | wc -l)" = 1
    accept bench "$dense" --prefill 4 --decode 2 --repeat 1 -t 1
    check "the usual contexts are cut" grep -q '^note: --context is cut: this model has 128 positions$' "$err"
    check "the usual contexts end at the limit" grep -qE '^ +126 ' "$out"
    [ -n "$json_lines" ] || return 0
    accept bench "$demo" --prefill 1,8 --context 0 --decode 2 --repeat 1 --json --exact
    check "bench gives one object" test "$(wc -l <"$out") $(json threads)" = "1 $(nproc)"
    check "bench has the roofs" grep -qE '^[0-9.e+-]+$' <(json roof.read_gb_per_s)
    check "bench has two prompts" test "$(json prefill | grep -o tokens_per_s | wc -l)" = 2
    check "bench has one context" test "$(json decode | grep -o barrier_share | wc -l)" = 1
    check "one token meets the experts of one token" grep -q '"distinct_experts": 2.0' <(json prefill)
    check "exactness has a price" grep -qE '^[0-9.e+-]+$' <(json exact_cost.decode)
}

# What keeps activations, keys and values as they are agrees with what was always so.
test_precision() {
    accept logits "$tiny" --tokens 1,2,3,4,5 -o "$work/a.npy"
    accept logits "$tiny" --tokens 1,2,3,4,5 -o "$work/b.npy" --cache-type f32
    check "logits keep keys and values in float" cmp -s "$work/a.npy" "$work/b.npy"
    accept logits "$tiny" --tokens 1,2,3,4,5 -o "$work/a.npy" --exact
    accept logits "$tiny" --tokens 1,2,3,4,5 -o "$work/b.npy" --exact --chunk 1
    check "--exact: the chunk does not matter" cmp -s "$work/a.npy" "$work/b.npy"
    accept logits "$tiny" --tokens 1,2,3,4,5 -o "$work/a.npy" --float
    accept logits "$tiny" --tokens 1,2,3,4,5 -o "$work/b.npy" --float --no-repack
    local type
    for type in f32 f16 bf16 q8_0; do
        accept run "$demo" -p 'Once upon a time' -n 4 --temp 0 --cache-type "$type"
    done
    accept run "$demo" -p 'Once upon a time' -n 4 --temp 0 -v
    check "-v tells of the memory" \
        grep -qE '^memory   .* of weights, [0-9]+ % of them in 2 MiB pages, .* of session' "$err"
}

test_logits() {
    accept logits "$tiny" --tokens 1,2,3,4,5 -o "$work/a.npy" --router-out "$work/e.npy" --layers "$work/layers"
    check "nothing on standard output" test ! -s "$out"
    check "magic number" test "$(magic "$work/a.npy")" = 934e554d50590100
    check "header of the logits" test "$(dict "$work/a.npy")" = \
        "{'descr': '<f4', 'fortran_order': False, 'shape': (5, 80), }"
    check "size of the logits" test "$(wc -c <"$work/a.npy")" = $((128 + 5 * 80 * 4))
    check "header of the experts" test "$(dict "$work/e.npy")" = \
        "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 5, 2), }"
    check "six files of layers" test "$(find "$work/layers" -name "*.npy" -printf "%f\n" | sort | tr '\n' ' ')" = \
        'attention.npy expert_weights.npy experts.npy ffn.npy hidden.npy router_scores.npy '
    check "experts are the same in both files" cmp -s "$work/e.npy" "$work/layers/experts.npy"
    check "no other files" test -z "$(find "$work" -name "*.part")"
    accept logits "$tiny" --tokens 1,2,3,4,5 -o "$work/b.npy" --chunk 2 -t 1
    check "chunk and threads do not matter" cmp -s "$work/a.npy" "$work/b.npy"
    accept logits "$dense" --tokens 1,2 -o "$work/b.npy" --layers "$work/dense"
    check "a dense model has three files" test "$(find "$work/dense" -name "*.npy" | wc -l)" = 3
    accept logits "$demo" -p 'Once upon a time' -o "$work/b.npy"

    rm -f "$work/b.npy"
    refuse 3 '--layers: ".*layers": exists and is not empty' \
        logits "$tiny" --tokens 1 -o "$work/b.npy" --layers "$work/layers"
    refuse 1 '--router-out: this model has no experts' \
        logits "$dense" --tokens 1 -o "$work/b.npy" --router-out "$work/x.npy"
    refuse 1 '' logits "$tiny" --tokens 1,80 -o "$work/b.npy" --layers "$work/new"
    refuse 3 '"/nonexistent/b.npy": No such file or directory' \
        logits "$tiny" --tokens 1 -o /nonexistent/b.npy --layers "$work/new"
    refuse 3 '"/dev/full": exists and is not a regular file' logits "$tiny" --tokens 1 -o /dev/full
    refuse 3 '"/nonexistent/e.npy"' logits "$tiny" --tokens 1 -o "$work/b.npy" --router-out /nonexistent/e.npy
    refuse 1 'no text is given' logits "$tiny" -o "$work/b.npy"
    check "failures leave no file" test ! -e "$work/b.npy" -a ! -e "$work/new" -a ! -e "$work/x.npy"
    check "failures leave no part" test -z "$(find "$work" -name "*.part")"
}

test_quantize() {
    accept quantize --help
    check "help lists the types" grep -qE '^  q4_k_m +4\.5 bits' "$out"
    refuse 1 'OUT OUT is missing|.*OUT is missing' quantize "$demo"
    refuse 1 '--type TYPE is missing' quantize "$demo" "$work/x.gguf"
    refuse 1 'type: unknown type "q4_km", expected one of f32, .*, q4_k_m, .*' \
        quantize "$demo" "$work/x.gguf" --type q4_km
    refuse 1 '--tensor: found "q8_0", expected PATTERN=TYPE' quantize "$demo" "$work/x.gguf" --type q8_0 --tensor q8_0
    refuse 1 '--tensor: found "=q8_0", expected PATTERN=TYPE' quantize "$demo" "$work/x.gguf" --type q8_0 --tensor =q8_0
    refuse 1 'tensor rule: unknown type "q8", expected one of f32, .*, mxfp4' \
        quantize "$demo" "$work/x.gguf" --type q8_0 --tensor attn=q8
    refuse 1 'tensor rule "shexp": fits no matrix' quantize "$demo" "$work/x.gguf" --type q8_0 --tensor shexp=f16
    refuse 1 'the name of OUT is empty' quantize "$demo" '' --type q8_0
    refuse 3 '--calibrate ".*missing": No such file' \
        quantize "$demo" "$work/x.gguf" --type q8_0 --calibrate "$work/missing"
    refuse 3 '' quantize "$work/missing" "$work/x.gguf" --type q8_0
    refuse 3 '.*nowhere/x\.gguf.*: No such file or directory' quantize "$demo" "$work/nowhere/x.gguf" --type q8_0
    refuse 1 '.*a single file has no config.json' quantize "$tiny/expected.safetensors" "$work/x.gguf" --type q8_0
    refuse 3 '.*exists already' quantize "$demo" "$demo" --type q8_0

    accept quantize "$demo" "$work/q8.gguf" --type q8_0
    check "one line per tensor" \
        grep -qE '^blk\.0\.ffn_up_exps\.weight +16 x 256 x 256 +BF16 +Q8_0 +[0-9.e-]+ +0\.00' "$out"
    check "norms stay exact" grep -qE '^blk\.0\.attn_norm\.weight +256 +BF16 +F32 +0 +0 +0$' "$out"
    check "bits per weight" grep -qE '^weights .* 8\.[0-9]+ bits each$' "$out"
    refuse 3 '.*q8\.gguf: exists already' quantize "$demo" "$work/q8.gguf" --type f16
    refuse 3 '.*q8\.gguf: exists already' quantize "$work/q8.gguf" "$work/q8.gguf" --type f16
    accept run "$work/q8.gguf" -p 'Once upon a time' -n 8 --temp 0
    check "the new file runs" test -s "$out"
    accept verify "$demo" "$work/q8.gguf" -f "$demo/eval/stories.txt" -c 64 --max-kl 0.01

    accept quantize "$work/q8.gguf" "$work/again.gguf" --type q4_k_m -q --tensor 'blk.1.ffn_up_exps*=f16' -t 1
    check "-q leaves the summary" test "$(wc -l <"$out")" = 4
    check "a second rounding is told" grep -q '^warning: [0-9]* tensors of the source are quantised already' "$err"
    accept quantize "$demo" "$work/4.gguf" --type mxfp4_moe --calibrate "$demo/eval/code.txt" --json
    if [ -n "$json_lines" ]; then
        check "JSON has bits per weight" grep -qE '^[4-8]\.' <(json summary.bits_per_weight)
        check "JSON has the tokens" test "$(json summary.calibration_tokens)" -gt 100
        check "tensors are weighted" grep -q true <(json weighted)
    fi
    accept inspect "$work/4.gguf"

    (ulimit -f 1000; "$sluice" quantize "$demo" "$work/large.gguf" --type f16 >"$out" 2>"$err")
    check "no room gives exit code 3" test $? = 3
    check "no room gives one line" grep -qE '^error: .*large\.gguf\.part: .*File too large$' "$err"
    run quantize "$demo" "$work/full.gguf" --type f16
    "$sluice" quantize "$demo" "$work/full2.gguf" --type f16 >/dev/full 2>"$err" </dev/null
    check "a full output gives exit code 3" test $? = 3
    check "a full output does not cost the model" cmp "$work/full.gguf" "$work/full2.gguf"
    check "failures leave nothing" test -z "$(find "$work" -name '*.part' -o -name 'x.gguf' -o -name 'large.gguf')"
}

# Interrupts a conversion as soon as its file has begun.
test_quantize_interrupt() {
    set -m
    "$sluice" quantize "$demo" "$work/cut.gguf" --type iq4_xs -t 1 >"$out" 2>"$err" </dev/null &
    local job=$! i
    set +m
    for ((i = 0; i < 3000; i++)); do
        [ -e "$work/cut.gguf.part" ] && break
        sleep 0.01
    done
    kill -INT "$job"
    wait "$job"
    check "SIGINT gives exit code 130" test $? = 130
    check "SIGINT leaves nothing" test ! -e "$work/cut.gguf" -a ! -e "$work/cut.gguf.part"
    check "SIGINT says nothing" test ! -s "$err"
}

# What llama.cpp's own converter and quantiser wrote computes what transformers computes.
test_peer_files() {
    local file
    for file in "$models"/../gguf/*.gguf; do
        accept verify "$file" --reference "${file%.gguf}.safetensors" -t 2 --float
        accept verify "$file" --reference "${file%.gguf}.safetensors" -t 2
    done
    accept tokenize "$file" -p 'a'
    check "a GGUF file is tokenizer enough" test "$(cat "$out")" = "$("$sluice" tokenize "$demo" -p 'a')"
    accept run "$file" -p 'ab' -n 3 --load-as q4_0 --json
    refuse 1 'load as: unknown type "q4_k_m", expected one of .*mixes such as q4_k_m are for quantize.*' \
        run "$file" -p 'ab' --load-as q4_k_m
    accept verify "$demo" --load-as q8_0 -p 'Once upon a time there was a king' --max-kl 0.01
}

test_verify_models() {
    local text='Once upon a time there was a king who had three sons'
    accept verify "$demo" "$demo" -p "$text" --max-kl 0.01
    accept verify "$demo" "$demo" -p "$text" --json --max-kl 0 --float
    check "a model does not diverge from itself" test "$(json mean_kl) $(json top1_agreement)" = '0.0 1.0'
    check "nor do its experts" test "$(json expert_sets_differ)" = 0.0
    accept verify "$demo" "$demo" -p "$text" -c 4
    check "perplexity is given for both" grep -qE '^perplexity +A [0-9.]+, B [0-9.]+' "$out"
    refuse 1 'name either a second model or --reference FILE' verify "$demo" "$demo" --reference "$work/missing"
    refuse 1 '.*-p and -f are for two models.*' verify "$demo" --reference "$work/missing" -p x
    refuse 1 '-c: found 2000, these models have 2..1024 positions' verify "$demo" "$demo" -p "$text" -c 2000
    refuse 1 '-p: 1 tokens, expected at least 2' verify "$demo" "$demo" -p a
    refuse 1 '.*has no tokenizer.*' verify "$demo" "$tiny" -p "$text"
}

test_verify() {
    local reference name
    for reference in "$golden"/*.safetensors; do
        name=$(basename "$reference" .safetensors)
        [ -d "$models/$name" ] || continue
        accept verify "$models/$name" --reference "$reference" --float
        check "$name agrees" test "$(tail -n 1 "$out")" = agrees
        check "the limit for floats is told" \
            grep -qE '^NMSE .*\(limit 1e-(08|10): (activations are float|float32)\)$' "$out"
        accept verify "$models/$name" --reference "$reference"
        check "$name agrees when activations are rounded" test "$(tail -n 1 "$out")" = agrees
    done
    accept verify "$tiny" --reference "$tiny/expected.safetensors" -t 1 --float
    check "all choices agree" grep -q '^router .*differences: 0 near-ties, 0 real$' "$out"
    refuse 2 '' verify "$dense" --reference "$golden/qwen3-moe-hub-bf16.safetensors"
    refuse 2 '.*tokens is missing' verify "$tiny" --reference "$tiny/model.safetensors"
    refuse 3 '' verify "$tiny" --reference "$work/missing"
    head -c 1000 "$tiny/expected.safetensors" >"$work/cut.safetensors"
    refuse 2 '' verify "$tiny" --reference "$work/cut.safetensors"

    # The same model with other numbers in its largest tensors: the verdict, not an error.
    mkdir -p "$work/changed"
    cp "$tiny"/*.json "$work/changed"
    cp "$tiny/model.safetensors" "$work/changed"
    local size
    size=$(wc -c <"$tiny/model.safetensors")
    tail -c 3000 "$tiny/model.safetensors" | head -c 1000 |
        dd of="$work/changed/model.safetensors" bs=1 seek=$((size - 1000)) conv=notrunc status=none
    run verify "$work/changed" --reference "$golden/qwen3-moe-hub-bf16.safetensors"
    check "a changed model gives exit code 2" test "$code" = 2
    check "a changed model differs" test "$(tail -n 1 "$out")" = DIFFERS
    check "a verdict is no error" test ! -s "$err"
}

# Interrupts a run after its first line: what has been said stays, figures follow, exit code 130.
test_interrupt() {
    local reader line
    mkfifo "$work/fifo"
    set -m # a job of its own, with the usual reaction to SIGINT
    "$sluice" run "$demo" -p 'Once upon a time' -n 1000000 --ignore-eos --json -t 1 >"$work/fifo" 2>"$err" </dev/null &
    local job=$!
    set +m
    exec {reader}<"$work/fifo"
    read -r line <&"$reader"
    kill -INT "$job"
    { printf '%s\n' "$line"; cat <&"$reader"; } >"$out"
    exec {reader}<&-
    wait "$job"
    check "SIGINT gives exit code 130" test $? = 130
    check "the figures are printed" grep -q '^finish   cancelled after' "$err"
    check "there is no error line" not grep -q '^error' "$err"
    tail -n 1 "$out" >"$work/last"
    check "the summary comes last" grep -q '"finish_reason": "cancelled"' "$work/last"
    [ -n "$json_lines" ] && check "every line is an object" "$json_lines" <"$out"
}

# A model file that becomes shorter while its weights are read in it: an error, neither death by SIGBUS nor a result.
test_file_that_becomes_shorter() {
    local reader line job bytes
    mkdir "$work/shrinking"
    cp "$demo"/*.json "$demo/model.safetensors" "$work/shrinking"
    bytes=$(wc -c <"$work/shrinking/model.safetensors")
    sed -i 's/"max_position_embeddings": *[0-9]*/"max_position_embeddings": 8192/' "$work/shrinking/config.json"
    mkfifo "$work/shrinking/fifo"
    "$sluice" run "$work/shrinking" --no-repack -p Once -n 1000000 --ignore-eos --json \
        >"$work/shrinking/fifo" 2>"$err" </dev/null &
    job=$!
    exec {reader}<"$work/shrinking/fifo"
    read -r line <&"$reader" # it decodes, and cannot end before we read on: a pipe holds less than what is to come
    truncate -s 4096 "$work/shrinking/model.safetensors"
    { printf '%s\n' "$line"; cat <&"$reader"; } >"$out"
    exec {reader}<&-
    wait "$job"
    code=$?
    check "a file that becomes shorter gives exit code 3, not $code" test "$code" = 3
    check "a file that becomes shorter gives one line" test "$(cat "$err")" = \
        "error: model.safetensors: became shorter while it was in use: 4096 bytes, expected $bytes"
    check "there is no summary" not grep -q finish_reason "$out"
    rm -r "$work/shrinking"
}

test_load() {
    accept run "$demo" -p 'Once upon a time' -n 8 --seed 7 --stats
    local hash
    hash=$(stat_hash)
    accept run "$demo" -p 'Once upon a time' -n 8 --seed 7 --stats --load read
    check "files that are read give the same logits" test "$(stat_hash)" = "$hash"
    accept inspect "$demo" --load read
    accept tokenize "$demo" --load read -p Once
    refuse 1 '--load: found "foo", expected map or read$' run "$demo" -p Once --load foo
    refuse 1 '--load read and --no-repack exclude each other$' run "$demo" -p Once --load read --no-repack
}

test_help
test_usage_errors
test_bad_inputs
test_full_and_closed_outputs
test_run
test_stop
test_tokens_in_and_out
test_json
test_inspect
test_tokenize
test_bench
test_precision
test_logits
test_verify
test_verify_models
test_peer_files
test_quantize
test_quantize_interrupt
test_interrupt
test_file_that_becomes_shorter
test_load

printf '%d checks, %d failed\n' "$checks" "$failures"
test "$failures" = 0
