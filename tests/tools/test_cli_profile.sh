#!/usr/bin/env bash
# Runs `sluice profile` as people and scripts do.
#
#   test_cli_profile.sh SLUICE DEMO_FOLDER GOLDEN_MODELS JSON_LINES
#
# JSON_LINES is the helper that is built from json_lines.c.
set -u

sluice=$1 demo=$2 models=$3 json_lines=$4
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
    "$@" && return
    failures=$((failures + 1))
    printf 'FAILED: %s\n' "$what"
    head -n 5 "$err" | sed 's/^/    stderr: /'
}

not() { ! "$@"; }

run() {
    "$sluice" profile "$@" >"$out" 2>"$err" </dev/null
    code=$?
}

accept() {
    run "$@"
    check "'$*' gives exit code 0, not $code" test "$code" = 0
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

json() { "$json_lines" "$1" <"$out"; }

test_usage() {
    refuse 1 '--prefill: found 1, expected 2\.\.' "$tiny" --prefill 1
    refuse 1 '--prefill: found "x"' "$tiny" --prefill x
    refuse 1 '--decode: found -1, expected 0\.\.' "$tiny" --decode -1
    refuse 1 '--prefill 1000 and --decode 100: the positions of this model are 1024$' \
        "$demo" --prefill 1000 --decode 100
    refuse 1 '--prefill 4 and --decode 64: the tokens of the text are 2$' "$demo" -p 'a b' --prefill 4
    refuse 1 '-p and -f exclude each other' "$demo" -p x -f y
    refuse 1 '--cache-type: found "q4"' "$demo" --cache-type q4
    refuse 3 '' "$work/missing"
    refuse 3 '"[^"]*/none/p\.csv": No such file' "$tiny" --csv "$work/none/p.csv"
    refuse 3 '"[^"]*/none/p\.html": No such file' "$tiny" --html "$work/none/p.html"
    refuse 3 '"[^"]*": exists and is not a regular file' "$tiny" --csv "$work"
    refuse 3 '"": No such file' "$tiny" --csv ''
    refuse 1 '--csv and --html name the same file' "$tiny" --csv "$work/x" --html "$work/x"
    echo old >"$work/old"
    refuse 1 '--prefill 4 and --decode 1000' "$tiny" --prefill 4 --decode 1000 --csv "$work/old" --html "$work/new"
    check "a failure leaves an old file as it was" test "$(cat "$work/old")" = old
    check "a failure leaves nothing else" test "$(ls "$work")" = "$(printf 'err\nold\nout')"
}

test_table() {
    accept "$tiny" --prefill 20 --decode 3 -t 2
    check "nothing on standard error" test ! -s "$err"
    check "the roofs" grep -qE '^roofs +reads [0-9.]+ GB/s, int8 ' "$out"
    for phase in 'prefill +20 tokens in [0-9.]+ m?s, 1 pass,' 'decode +3 tokens in [0-9.]+ m?s, 3 passes,'; do
        check "a line for $phase" grep -qE "^$phase [0-9.]+ tokens/s" "$out"
    done
    for step in 'start and end' norms 'q k v product' 'rope and cache' attention 'output product' router \
        'expert gate-up' 'expert down' logits together; do
        check "two lines for $step" test "$(grep -cE "^$step +[0-9.e-]+ +[0-9.]+ %" "$out")" = 2
    done
    check "rows are packed in prefill alone" test "$(grep -c '^expert pack ' "$out")" = 1
    check "the sum of parts" test "$(grep -cE '^parts +[0-9.]+ m?s of [0-9.]+ m?s, [0-9.]+ % of' "$out")" = 2
    check "both threads wait" test "$(grep -cE '^waiting +thread 0 [0-9.]+ %, thread 1 [0-9.]+ %,' "$out")" = 2
    check "page faults" test "$(grep -cE '^system +[0-9]+ page faults, [0-9]+ of them from disk;' "$out")" = 2
    check "energy, or why not" test "$(grep -cE '^energy +([0-9.e+-]+ J per token|not available: .)' "$out")" = 2
    check "one row per expert in decode, and its kernel" grep -qE '^1 +12\.0 +100 % +100 %  bf16_' "$out"
    check "no line has more than 100 columns, but names of kernels" \
        not grep -qE '^.{101}' <(grep -v '_f32_\|_bf16_\|^machine' "$out")
    check "no line ends with a blank" not grep -q ' $' "$out"
    accept "$dense" --prefill 8 --decode 2 -t 1 --layers
    check "a dense model has no experts" not grep -q expert "$out"
    check "its layers have lines" test "$(grep -cE '^layer [01] ' "$out")" = 4
    check "mlp" test "$(grep -cE '^mlp (gate-up|down) ' "$out")" = 4
    accept "$tiny" --prefill 8 --decode 0
    check "without decode there is no such table" not grep -q '^decode' "$out"
}

test_sizes() {
    accept "$tiny"
    check "defaults are cut to the model" grep -qE '^note: [0-9]+ tokens of prompt and 64 decoded: the positions' "$err"
    accept "$demo" -p 'Once upon a time there was a king who had a daughter, and a castle by the sea.' --decode 4
    check "and to the text" grep -qE '^note: [0-9]+ tokens of prompt and 4 decoded: the tokens of the text' "$err"
}

test_files() {
    accept "$tiny" --prefill 20 --decode 3 -t 2 --csv "$work/p.csv" --html "$work/p.html" --json
    check "one line of JSON" test "$(wc -l <"$out")" = 1
    check "its version" test "$(json schema_version)" = 1
    check "its threads" test "$(json machine.threads)" = 2
    check "two phases" test "$(json phases | grep -o '"sum_of_parts_seconds"' | wc -l)" = 2
    check "bytes of experts" grep -q '"weight_bytes"' "$out"
    check "a header" grep -q '^phase,layer,operation,calls,seconds,wait_seconds,weight_bytes,cache_bytes,flops_' \
        "$work/p.csv"
    check "all lines have as many fields" \
        awk -F, 'NR == 1 { n = NF } NF != n { bad = 1 } END { exit bad || NR < 30 }' "$work/p.csv"
    # 2 of 6 experts for each of 3 tokens in each of the layers with experts: what each reads is the same.
    check "operations of experts are those of three tokens in each layer" \
        awk -F, '$1 == "decode" && $3 == "expert down" && $9 + $10 + $11 != first { n++; first = $9 + $10 + $11 }
                 END { exit n != 1 || first <= 0 }' "$work/p.csv"
    check "the page begins as one" test "$(head -c 15 "$work/p.html")" = '<!DOCTYPE html>'
    for heading in Roofline 'Time by layer' 'Load of the experts' Timeline; do
        check "the page has $heading" grep -q ">$heading<" "$work/p.html"
    done
    check "the page is complete" grep -q '</html>$' <(tail -n 1 "$work/p.html")
    check "the page needs no network" not grep -qE '(src|href)="?https?:' "$work/p.html"
    check "nothing else was written" \
        test "$(ls "$work" | tr '\n' ' ')" = 'err old out p.csv p.html '
}

test_demo() {
    accept --prefill 8 --decode 2
    check "without a model it is the demo model" grep -qE '^model +demo, ' "$out"
    accept --prefill 8 --decode 2 --exact --float --cache-type f32
    check "floats meet f32 kernels" grep -q '_f32_' "$out"
}

test_usage
test_table
test_sizes
test_files
test_demo
printf '%d checks, %d failures\n' "$checks" "$failures"
test "$failures" = 0
