#!/usr/bin/env bash
# The flags of expert surgery, as people type them: what they change in texts and files, the line with the KL, and one
# line for everything that cannot be.
#
#   test_cli_surgery.sh SLUICE DEMO_FOLDER GOLDEN_MODELS
set -u

sluice=$1 demo=$2 models=$3
tiny=$models/qwen3-moe-hub-bf16
dense=$models/llama3-hub-bf16
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=$work/out err=$work/err
one='KL\(native \|\| --active-experts 1\)' # as the line with the KL names it
checks=0 failures=0

# check WHAT COMMAND...: the command must succeed.
check() {
    local what=$1
    shift
    checks=$((checks + 1))
    "$@" && return
    failures=$((failures + 1))
    printf 'FAILED: %s\n' "$what"
    sed 's/^/    stderr: /' "$err" | head -n 5
}

not() { ! "$@"; }

# run ARGUMENT...: runs the program with nothing on standard input; leaves $out, $err and $code.
run() {
    "$sluice" "$@" >"$out" 2>"$err" </dev/null
    code=$?
}

accept() {
    run "$@"
    check "'$*' gives exit code 0, not $code" test "$code" = 0
}

# refuse PATTERN ARGUMENT...: exit code 1, one line and no output.
refuse() {
    local pattern=$1
    shift
    run "$@"
    check "'$*' gives exit code 1, not $code" test "$code" = 1
    check "'$*' prints one line" test "$(wc -l <"$err")" = 1
    check "'$*' prints the line 'error: $pattern'" grep -qE "^error: $pattern" "$err"
    check "'$*' prints no result" test ! -s "$out"
}

hash_of() { sed -n 's/^logits *hash \([0-9a-f]\{16\}\)$/\1/p' "$err"; }
kl_of() { sed -n 's/^KL *\([0-9.]*\) nats per token, KL(native || .*/\1/p' "$1"; }

tell() { # FLAGS: a tale of the demo model
    accept run "$demo" -p 'Once upon a time' -n 12 --seed 3 --exact --stats "$@"
}

test_run() {
    local native
    tell
    native=$(hash_of)
    check "without surgery there is no KL" not grep -q '^KL' "$err"
    tell --active-experts 2
    check "the model's own number changes nothing" test "$(hash_of)" = "$native"
    check "and costs nothing" test "$(kl_of "$err")" = 0.000000
    tell --dense-twin
    check "the dense twin gives the same logits" test "$(hash_of)" = "$native"
    check "and reads all experts" grep -qE '^experts +80 of 80 .* 80 read per token$' "$err"
    check "and costs nothing" test "$(kl_of "$err")" = 0.000000
    tell --active-experts 1
    check "fewer experts give other logits" test "$(hash_of)" != "$native"
    check "and read less" grep -qE '^experts .* 5 read per token$' "$err"
    check "and cost something" \
        grep -qE "^KL +0\.[0-9]*[1-9][0-9]* nats per token, $one over [0-9]+ tokens of this run$" "$err"
    set -f # the stars stay stars
    for flags in '--ablate *:1' '--zero *:*' '--force 2:7' '--ablate *:1,*:2 --zero 3:4 --force 4:0'; do
        # shellcheck disable=SC2086
        tell $flags
        check "$flags gives other logits" test "$(hash_of)" != "$native"
        check "$flags costs something" grep -qE '^KL +[0-9]+\.[0-9]*[1-9]' "$err"
    done
    set +f
    accept run "$demo" -p 'Once upon a time' -n 4 --json --zero 1:3
    check "JSON tells it too" \
        grep -qE '"surgery": \{"flags": "--zero 1:3", "kl": [0-9.e-]+, "kl_tokens": [0-9]+\}' "$out"
    accept run "$demo" -p 'Once upon a time' -n 4 --json
    check "and does not without" not grep -q surgery "$out"
}

test_logits() {
    local l=(logits "$tiny" --tokens 1,2,3,4,5,6 --exact)
    accept "${l[@]}" -o "$work/native.npy" --router-out "$work/e.npy"
    accept "${l[@]}" -o "$work/twin.npy" --dense-twin --router-out "$work/twin-e.npy" --layers "$work/layers"
    check "the dense twin gives the same bits" cmp -s "$work/native.npy" "$work/twin.npy"
    check "and the same choices" cmp -s "$work/e.npy" "$work/twin-e.npy"
    accept "${l[@]}" -o "$work/three.npy" --active-experts 3 --router-out "$work/three-e.npy"
    check "three experts per token" grep -aq "'shape': (2, 6, 3)" "$work/three-e.npy"
    check "give other logits" not cmp -s "$work/native.npy" "$work/three.npy"
    accept "${l[@]}" -o "$work/zero.npy" --zero '*:0' --router-out "$work/zero-e.npy"
    check "what is zeroed changes the logits" not cmp -s "$work/native.npy" "$work/zero.npy"
}

test_verify() {
    local text='Once upon a time there was a king who had three sons'
    accept verify "$demo" -p "$text" --active-experts 2
    check "as the model is" grep -qE '^KL\(A\|\|B\) +mean 0\.000000, median 0\.000000, .* max 0\.000000 nats' "$out"
    check "and the same experts" grep -qE '^experts +0\.000 %' "$out"
    accept verify "$demo" -p "$text" --ablate '*:3'
    check "the figures name the knob" grep -qE '^ +with --ablate \*:3$' "$out"
    check "ablation costs something" not grep -qE '^KL\(A\|\|B\) +mean 0\.000000' "$out"
    check "some layers choose others" not grep -qE '^experts +0\.000 %' "$out"
    accept verify "$demo" "$demo" -p "$text" --active-experts 1
    check "with two models it is the second one's" not grep -qE '^KL\(A\|\|B\) +mean 0\.000000' "$out"
    accept verify "$models/qwen3-moe-hub-bf16" --reference "$models/../verify/qwen3-moe-hub-bf16.safetensors" --float \
        --dense-twin
    refuse 'name either a second model' verify "$demo" -p "$text"
}

test_bench() {
    local b=(bench "$demo" --prefill 8 --context 0 --decode 2 --repeat 1)
    accept "${b[@]}" --active-experts 1
    check "bench prints the KL" \
        grep -qE "^KL +0\.[0-9]*[1-9][0-9]* nats per token, $one over 256 tokens that the model wrote$" "$out"
    check "and one expert per layer" grep -qE '^ +0 .* 1\.0 +1\.0$' "$out"
    accept "${b[@]}" --dense-twin --json
    check "and in JSON" grep -qE '"surgery": \{"flags": "--dense-twin", "kl": (0\.0|[0-9.]+e-)' "$out"
    accept "${b[@]}" --active-experts 1 --csv
    check "and in CSV" grep -qE ',kl$' "$out"
    check "with a number" grep -qE '^"demo".*,0\.[0-9]+$' "$out"
}

test_freeze() {
    local native l=(logits "$tiny" --tokens 1,2,3,4,5,6 --exact)
    accept trace "$tiny" --tokens 1,2,3,4,5,6 --exact --cache-type f32 -o "$work/tiny.trace"
    accept trace "$demo" -p 'Once upon a time' --exact -o "$work/demo.trace"
    accept "${l[@]}" -o "$work/own.npy"
    accept "${l[@]}" -o "$work/frozen.npy" --freeze-routing "$work/tiny.trace" --router-out "$work/frozen-e.npy"
    check "its own routing changes nothing" cmp -s "$work/own.npy" "$work/frozen.npy"
    check "and is not worth a note" test ! -s "$err"
    accept logits "$tiny" --tokens 1,2,9,9,9,9,9 --exact -o "$work/other.npy" --freeze-routing "$work/tiny.trace" \
        --router-out "$work/other-e.npy"
    check "other tokens are noted" \
        grep -qE '^note: --freeze-routing: the trace has other tokens from position 2 on' "$err"
    check "and those beyond its end" grep -qE '^note: --freeze-routing: positions from 6 on are not in the trace' "$err"
    head -c $((128 + 6 * 2 * 4)) "$work/frozen-e.npy" | tail -c $((6 * 2 * 4)) >"$work/first"
    head -c $((128 + 6 * 2 * 4)) "$work/other-e.npy" | tail -c $((6 * 2 * 4)) >"$work/second"
    check "the first layer's choice is that of the trace" cmp -s "$work/first" "$work/second"
    tell
    native=$(hash_of)
    tell --freeze-routing "$work/demo.trace"
    check "a tale with its own routing is the same tale" test "$(hash_of)" = "$native"
    check "and costs nothing" test "$(kl_of "$err")" = 0.000000
    refuse '".*tiny.trace": is a trace of another model: ' run "$demo" -p x --freeze-routing "$work/tiny.trace"
    refuse '--freeze-routing: 2 experts per token, and --active-experts 3$' \
        run "$demo" -p x --freeze-routing "$work/demo.trace" --active-experts 3
    run run "$demo" -p x --freeze-routing "$work/missing"
    check "a missing trace is exit code 3" test "$code" = 3
    run run "$demo" -p x --freeze-routing "$0"
    check "what is no trace is exit code 2" test "$code" = 2
    check "in one line" test "$(wc -l <"$err")" = 1
}

test_refusals() {
    refuse 'active experts: found 17, expected 1\.\.16, the model.s experts$' run "$demo" -p x --active-experts 17
    refuse '--active-experts: found 0, expected 1\.\.' run "$demo" -p x --active-experts 0
    refuse '--ablate: found "3", expected LAYER:EXPERT, numbers or \*$' run "$demo" -p x --ablate 3
    refuse '--zero: found "1:x", expected LAYER:EXPERT' bench "$demo" --zero 0:0,1:x
    refuse 'zero: layer 5 does not exist, expected 0\.\.4$' run "$demo" -p x --zero 5:0
    refuse 'force: expert 16 does not exist, expected 0\.\.15$' run "$demo" -p x --force '*:16'
    refuse 'layer 2: expert 3 is both ablated and forced$' run "$demo" -p x --force 2:3 --ablate '*:3'
    refuse 'ablate: layer 0: 0 of 16 experts are left, expected at least the 2 of a token$' \
        run "$demo" -p x --ablate '0:*'
    refuse 'force: layer 1: found 16 experts, expected at most the 2 of a token$' verify "$demo" -p x --force '1:*'
    refuse 'expert surgery: this model has no experts$' run "$dense" --tokens 1 --dense-twin
    refuse 'expert surgery: this model has no experts$' logits "$dense" --tokens 1 -o "$work/no.npy" --zero 0:0
    check "nothing is written" test ! -e "$work/no.npy"
}

test_run
test_logits
test_verify
test_bench
test_freeze
test_refusals

printf '%d checks, %d failed\n' "$checks" "$failures"
test "$failures" = 0
