#!/usr/bin/env bash
# Runs `sluice trace` and `sluice stats` as people and scripts do.
#
#   test_cli_trace.sh SLUICE DEMO_FOLDER GOLDEN_MODELS [JSON_LINES]
#
# JSON_LINES is the helper that is built from json_lines.c (without it the contents of JSON are not looked at). Where
# there is a python3, traces are compared with what `sluice logits` says, and pages are parsed.
set -u

sluice=$1 demo=$2 models=$3 json_lines=${4:-}
tiny=$models/qwen3-moe-hub-bf16
dense=$models/llama3-hub-bf16
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=$work/out err=$work/err
checks=0 failures=0
python=$(command -v python3)

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

not() { ! "$@"; }

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

json() { "$json_lines" "$1" <"$out"; }

# same_routing TRACE.jsonl EXPERTS.npy SCORES.npy WEIGHTS.npy: the same numbers, found in two ways.
same_routing() {
    "$python" - "$@" <<'PYTHON'
import json, struct, sys
def read(name):
    data = open(name, "rb").read()
    n = struct.unpack("<H", data[8:10])[0]
    header = eval(data[10:10 + n])
    count = 1
    for d in header["shape"]:
        count *= d
    return header["shape"], struct.unpack("<%d%s" % (count, header["descr"][1]), data[10 + n:])
lines = [json.loads(line) for line in open(sys.argv[1])]
head, tokens = lines[0], lines[1:]
assert head["n_tokens"] == len(tokens) and len(head["layers"]) == head["n_moe_layers"]
for key, name in zip(("experts", "scores", "weights"), sys.argv[2:]):
    (n_layers, n_tokens, width), values = read(name)
    assert n_tokens == len(tokens) and n_layers == head["n_moe_layers"], key
    for t, token in enumerate(tokens):
        for l in range(n_layers):
            at = (l * n_tokens + t) * width
            for found, expected in zip(token[key][l], values[at:at + width]):
                assert abs(found - expected) <= 1e-6 * abs(expected), (key, t, l, found, expected)
            assert len(token[key][l]) == width
PYTHON
}

# same_trace FILE.trace FILE.jsonl: the binary form, read as tools/trace_file.h describes it and by nothing of ours,
# says what the other form says.
same_trace() {
    "$python" - "$@" <<'PYTHON'
import json, struct, sys
data = open(sys.argv[1], "rb").read()
lines = [json.loads(line) for line in open(sys.argv[2])]
head, tokens = lines[0], lines[1:]
names = ("n_layers hidden_size n_moe_layers n_experts top_k vocab_size n_parameters expert_bytes other_bytes "
         "n_tokens text_bytes n_context").split()
magic, version, flags, fingerprint, *rest = struct.unpack("<8sIIQ6I5Q4I24x", data[:128])
values, lengths = rest[:12], rest[12:]
assert magic == b"SLUICETR" and version == 1 and flags == head["has_scores"]
assert dict(zip(names, values)) == {k: head[k] for k in names}
at = 128
def take(form, count):
    global at
    at = (at + 7) // 8 * 8
    found = struct.unpack_from("<%d%s" % (count, form), data, at)
    at += struct.calcsize("<%d%s" % (count, form))
    return found
text = b"".join(take("s", sum(lengths)))
for name, length in zip(("model", "architecture", "label"), lengths):
    assert text[:length].decode() == head[name]
    text = text[length:]
n, l, k, e = head["n_tokens"], head["n_moe_layers"], head["top_k"], head["n_experts"]
state = 0xcbf29ce484222325
layers_at = (at + 7) // 8 * 8
layers = take("I", l)
for byte in data[24:56] + head["architecture"].encode() + data[layers_at:at]:
    state = (state ^ byte) * 0x100000001b3 % 2**64
assert state == fingerprint and list(layers) == head["layers"]
assert list(take("i", n)) == [t["token"] for t in tokens]
ends = take("H", n)
text = b"".join(take("s", head["text_bytes"]))
assert len(text) == sum(ends)
assert text.decode() == "".join(t["text"] for t in tokens)
for form, name, width in ("H", "experts", k), ("f", "weights", k), ("f", "scores", e):
    if name != "scores" or flags:
        found = take(form, n * l * width)
        expected = [x for t in tokens for layer in t[name] for x in layer]
        assert len(found) == len(expected) and all(abs(a - b) <= 1e-8 * abs(b) for a, b in zip(found, expected)), name
assert at == len(data)
PYTHON
}

# Of every family: the trace has what the observers of `logits` show; dense models are refused.
test_families() {
    local model n_traced=0 ids=1,2,3,4,5,6,7,8,9,10
    for model in "$models"/*/; do
        model=${model%/}
        run trace "$model" --tokens $ids -o "$work/x.jsonl" --jsonl --scores --float --exact -t 1
        if [ $code = 1 ]; then
            check "$model is refused for a reason" grep -qE '^error: .* has no experts, so there is no routing' "$err"
            check "$model leaves no file" test ! -e "$work/x.jsonl"
            continue
        fi
        check "$model can be traced" test $code = 0
        n_traced=$((n_traced + 1))
        if [ -n "$python" ]; then
            accept logits "$model" --tokens $ids -o "$work/l.npy" --layers "$work/layers" --float --exact -t 1
            accept trace "$model" --tokens $ids -o "$work/x.jsonl" --jsonl --scores --float --exact -t 1 \
                --cache-type f32 --chunk 4
            check "$model: trace and logits agree" same_routing "$work/x.jsonl" "$work/layers/experts.npy" \
                "$work/layers/router_scores.npy" "$work/layers/expert_weights.npy"
        fi
        rm -rf "$work/layers" "$work/x.jsonl" "$work/l.npy"
    done
    check "many families have experts: $n_traced" test $n_traced -gt 30
}

test_trace() {
    accept trace "$demo" -p 'Once upon a time there was a king' -o "$work/a.trace"
    check "trace prints nothing" test ! -s "$out" -a ! -s "$err"
    accept trace "$demo" -p 'Once upon a time there was a king' -o "$work/b.trace" -t 1 --chunk 3
    check "nothing is left beside it" test "$(ls "$work"/*.trace*)" = "$work/a.trace
$work/b.trace"
    accept trace -p 'Once upon a time there was a king' -o "$work/b.trace"
    check "without a model it is the demo model's" cmp "$work/a.trace" "$work/b.trace"
    "$sluice" trace "$demo" -o "$work/c.trace" --label prompt < <(printf 'Once upon a time there was a king') 2>"$err"
    check "a pipe is a text as well" cmp "$work/a.trace" "$work/c.trace"
    accept trace "$demo" -p 'Once upon a time there was a king' -o "$work/s.trace" --scores
    check "scores take room" test "$(wc -c <"$work/s.trace")" -gt "$(wc -c <"$work/a.trace")"
    accept trace "$demo" -p 'Once upon a time' -o "$work/a.jsonl" --jsonl -c 2 --label 'my "label"'
    check "JSON Lines: one for the model and one per token" \
        test "$(wc -l <"$work/a.jsonl")" = "$((1 + $("$sluice" tokenize "$demo" -p 'Once upon a time' | wc -l)))"
    if [ -n "$json_lines" ]; then
        check "JSON Lines are objects" "$json_lines" <"$work/a.jsonl"
        check "the label is there" test "$("$json_lines" label <"$work/a.jsonl")" = 'my "label"'
        check "the text is there" test "$("$json_lines" text <"$work/a.jsonl")" = 'Once upon a time'
        check "pieces are told" test "$("$json_lines" n_context <"$work/a.jsonl")" = 2
    fi
    if [ -n "$python" ]; then
        accept trace "$demo" -p 'Once upon a time there was a king' -o "$work/s.jsonl" --jsonl --scores
        check "both forms are the same" same_trace "$work/s.trace" "$work/s.jsonl"
        accept trace "$demo" -p 'Once upon a time there was a king' -o "$work/b.jsonl" --jsonl
        check "both forms are the same without scores" same_trace "$work/a.trace" "$work/b.jsonl"
    fi
    refuse 1 'llama3-hub-bf16: has no experts, so there is no routing to trace' \
        trace "$dense" --tokens 1 -o "$work/x.trace"
    refuse 1 '-c: found 2000, this model has 1\.\.1024 positions' trace "$demo" -p a -o "$work/x.trace" -c 2000
    refuse 1 '--label: expected UTF-8 without control characters' trace "$demo" -p a -o "$work/x.trace" --label $'\e'
    refuse 1 '-o FILE is missing' trace "$demo" -p a
    refuse 1 '-p and -f exclude each other' trace "$demo" -p a -f b -o "$work/x.trace"
    refuse 1 '--tokens and -p exclude each other' trace "$demo" -p a --tokens 1 -o "$work/x.trace"
    refuse 1 'no text is given' trace "$demo" -o "$work/x.trace"
    refuse 1 '-p: the text is empty and has no tokens' trace "$demo" -p '' -o "$work/x.trace"
    refuse 1 'token 9999, expected 0\.\.4095' trace "$demo" --tokens 9999 -o "$work/x.trace"
    refuse 1 '.*has no tokenizer' trace "$tiny" -p a -o "$work/x.trace"
    refuse 3 '-f ".*": No such file' trace "$demo" -f "$work/missing" -o "$work/x.trace"
    refuse 3 '".*/missing/x": No such file' trace "$demo" -p a -o "$work/missing/x"
    refuse 3 '"/dev/full": exists and is not a regular file' trace "$demo" -p a -o /dev/full --jsonl
    check "failures leave nothing" test -z "$(find "$work" -name 'x.*' -o -name '*.part')"
}

# Ctrl-C, as soon as the file has begun.
test_interrupt() {
    local i job
    yes 'Once upon a time there was a king who had three sons.' | head -n 20000 >"$work/long.txt"
    set -m
    "$sluice" trace "$demo" -f "$work/long.txt" -o "$work/x.trace" -t 1 >"$out" 2>"$err" </dev/null &
    job=$!
    set +m
    for ((i = 0; i < 3000; i++)); do
        compgen -G "$work/x.trace.*.part" >"$work/names" && break
        sleep 0.01
    done
    kill -INT $job
    wait $job
    check "SIGINT gives exit code 130" test $? = 130
    check "SIGINT leaves nothing" test -z "$(find "$work" -name 'x.*')"
    check "SIGINT says nothing" test ! -s "$err"
}

test_stats() {
    local page=$work/stats.html
    head -c 6000 "$demo/eval/stories.txt" >"$work/stories.txt"
    head -c 6000 "$demo/eval/code.txt" >"$work/code.txt"
    accept trace "$demo" -f "$work/stories.txt" -o "$work/stories.trace"
    accept trace "$demo" -f "$work/code.txt" -o "$work/code.trace" --scores
    accept stats "$work/stories.trace" "$work/code.trace" --memory 20 --html "$page"
    check "stats says nothing else" test ! -s "$err"
    local section
    for section in Load Texts Specialists Together Vocabulary 'Working set' Cache; do
        check "stats has a section $section" grep -q "^$section: " "$out"
    done
    check "code has experts of its own" grep -qE '^L[0-9]E[0-9]+ +code +#{10,}' "$out"
    check "one token needs top_k experts" grep -qE '^ +1 +2\.00 #' "$out"
    check "everything in memory is never missed, but at first" grep -qE '^ +35\.6 MB +80 +9[0-9]\.[0-9] %' "$out"
    check "the page is there" grep -q '</html>' "$page"
    check "the page needs no network" not grep -qE '(src|href|url)[=(]|@import|<script' "$page"
    [ -n "$python" ] && check "the page is well-formed" \
        "$python" -c 'import sys, xml.etree.ElementTree as e; e.parse(sys.argv[1])' "$page"

    accept stats "$work/stories.trace" "$work/code.trace" --memory 20 --disk 1 --ram 0.01 --json
    if [ -n "$json_lines" ]; then
        check "stats gives one object" test "$(wc -l <"$out") $(json schema_version) $(json model)" = '1 1 demo'
        check "sizes are there" test "$(json expert_bytes) $(json cache.disk_gb_per_s)" = '393216 1.0'
        check "texts are told apart" grep -q '"label": "stories", "tokens": [0-9]' <(json traces)
        check "there is a matrix per layer" test "$(json layers | grep -o '"co_activation": \[\[' | wc -l)" = 5
        check "the asked budget is one of ten" test "$(json cache.budgets | grep -o '"ram_bytes"' | wc -l)" = 10
    fi
    accept stats "$work/code.trace" --memory 20
    check "one text has no specialists" not grep -qE '^(Texts|Specialists|Saturation): ' "$out"
    accept trace "$demo" -f "$work/stories.txt" -o "$work/rounded.trace" --load-as q4_0
    accept stats "$work/stories.trace" "$work/rounded.trace" --memory 20
    check "the same tokens tell how alike two routers are" grep -qE '^ +4 +#{14,}\.* +[89][0-9]\.[0-9] %' "$out"
    accept stats "$work/stories.trace" "$work/stories.trace" --memory 20 --json
    [ -n "$json_lines" ] &&
        check "a trace is like itself" test "$(json layers | grep -o '"saturation": \[1\.0\]' | wc -l)" = 5
}

test_bad_traces() {
    accept trace "$tiny" --tokens 1,2,3 -o "$work/tiny.trace"
    accept stats "$work/tiny.trace" --memory 20
    refuse 1 '".*tiny.trace": is a trace of another model: "qwen3-moe-hub-bf16", .*; ".*a.trace" is of "demo", 2 of' \
        stats "$work/a.trace" "$work/tiny.trace"
    head -c 1000 "$work/stories.trace" >"$work/cut.trace"
    refuse 2 '".*cut.trace": has 1000 bytes, expected [0-9]+ as its header says' stats "$work/cut.trace"
    refuse 2 '".*config.json": is not a routing trace' stats "$demo/config.json"
    refuse 2 '"/dev/null": is not a routing trace' stats /dev/null
    refuse 2 '"/dev/zero": is not a routing trace' stats /dev/zero
    refuse 3 '".*missing": No such file' stats "$work/missing"
    refuse 3 '".*": Is a directory' stats "$work"
    refuse 1 '--trace TRACE is missing: sluice stats TRACE' stats
    refuse 1 '--disk: found 0, expected 0 < GB/s' stats "$work/a.trace" --disk 0
    refuse 1 '--ram: found 0.001 GB, expected at least' stats "$work/a.trace" --ram 0.001 --memory 20
    refuse 3 '".*missing/x.html": No such file' stats "$work/a.trace" --html "$work/missing/x.html"
    refuse 2 '".*cut.trace": has 1000' stats "$work/a.trace" "$work/cut.trace" --html "$work/x.html"
    "$sluice" stats "$work/a.trace" --memory 20 --html "$work/x.html" >/dev/full 2>"$err"
    check "a full output is an error" test $? = 3
    check "a full output is told" grep -q '^error: standard output: No space left' "$err"
    check "failures leave nothing" test -z "$(find "$work" -name 'x.*' -o -name '*.part')"
}

test_trace
test_stats
test_bad_traces
test_interrupt
test_families

printf '%d checks, %d failed\n' "$checks" "$failures"
test "$failures" = 0
