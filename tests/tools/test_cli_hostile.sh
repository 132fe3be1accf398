#!/usr/bin/env bash
# Gives the program arguments that nobody means: numbers that are none, options that do not exist or lack their value,
# bytes that are no text, files that are no files. Every time: one line on standard error that says what is wrong, the
# right exit code, nothing on standard output, no crash and no hang.
#
#   test_cli_hostile.sh SLUICE DEMO_FOLDER GOLDEN_MODELS
set -u

sluice=$(realpath "$1") demo=$(realpath "$2") models=$(realpath "$3") # the folder is left below
tiny=$models/qwen3-moe-hub-bf16
dense=$models/llama3-hub-bf16
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
out=$work/out err=$work/err
mkdir "$work/cwd"
cd "$work/cwd" || exit 1 # nothing may appear here
commands='run inspect tokenize logits verify quantize bench profile trace stats'
checks=0 failures=0
limit=120 # seconds until a call counts as hanging

# check WHAT COMMAND...: the command must succeed.
check() {
    local what=$1
    shift
    checks=$((checks + 1))
    "$@" && return
    failures=$((failures + 1))
    printf 'FAILED: %s\n' "$what"
    head -c 200 "$err" | cat -v | sed 's/^/    stderr: /'
}

# run ARGUMENT...: runs the program with nothing on standard input; leaves $out, $err, $code and $line.
run() {
    timeout "$limit" "$sluice" "$@" >"$out" 2>"$err" </dev/null
    code=$?
    line=$(tr -d '\0' <"$err")
}

is_clean() { # the output of the last call: no control characters, valid UTF-8, one line
    [ "$(LC_ALL=C tr -dc '\n' <"$err" | wc -c)" = 1 ] && ! LC_ALL=C grep -q '[[:cntrl:]]' "$err" &&
        iconv -f UTF-8 -t UTF-8 "$err" >/dev/null 2>&1
}

says() { # LINE: the last call said this; a LINE that ends with ... is the beginning of what it said
    case $1 in
    *...) [[ $line == "error: ${1%...}"* ]] ;;
    *) [[ $line == "error: $1" ]] ;;
    esac
}

# refuse CODE LINE ARGUMENT...
refuse() {
    local expected=$1 wanted=$2 shown
    shift 2
    run "$@"
    printf -v shown '%q ' "${@:1:8}"
    shown=${shown:0:200}
    check "$shown gives exit code $expected, not $code" [ "$code" = "$expected" ]
    check "$shown prints one clean line" is_clean
    check "$shown says: error: $wanted" says "$wanted"
    check "$shown prints no result" [ ! -s "$out" ]
}

# many N TEXT: TEXT, N times.
many() { printf "%0.s$2" $(seq "$1"); }

# ---- commands and options ------------------------------------------------------------------------------------------

test_commands() {
    local unknown=' (sluice --help lists them)'
    refuse 1 "no command is named$unknown"
    refuse 1 "unknown command \"\"$unknown" ''
    refuse 1 "unknown command \"-\"$unknown" -
    refuse 1 "unknown command \"--\"$unknown" --
    refuse 1 "unknown command \"-p\"$unknown" -p x
    refuse 1 'unknown command "RUN"...' RUN
    refuse 1 'unknown command "runn", did you mean run?' runn
    refuse 1 "unknown command \"\\x1b[31mred\"$unknown" $'\e[31mred'
    refuse 1 "unknown command \"a\\nb\\tc\\rd\\\"e\\\\f\"$unknown" $'a\nb\tc\rd"e\\f'
    refuse 1 "unknown command \"\\xff\\xfe\"$unknown" $'\xff\xfe'
    refuse 1 "unknown command \"\\xc2\\x9b1m\"$unknown" $'\xc2\x9b1m' # it begins a control sequence too
    refuse 1 "unknown command \"\\xe2\\x80\\xaex\"$unknown" $'\u202ex' # it turns the line around
    refuse 1 "unknown command \"höher\"$unknown" höher
    refuse 1 'unknown command "aaaaaaaa...' "$(many 100000 a)"
    refuse 1 'unknown command "aaaaaaaa...' $(many 10000 'aaaaaaaa ')
    refuse 1 "unknown command \"x\"$unknown" help x
}

test_options() {
    local c
    for c in $commands; do
        local unknown=" (sluice $c --help lists them)" second=()
        [[ $c = verify || $c = quantize ]] && second=(b) # these take two
        refuse 1 "unknown option \"-z\"$unknown" "$c" -z
        refuse 1 "unknown option \"-z5\"$unknown" "$c" -z5
        refuse 1 "unknown option \"--nonsense\"$unknown" "$c" --nonsense
        refuse 1 "unknown option \"--nonsense\"$unknown" "$c" --nonsense=1
        refuse 1 "unknown option \"---\"$unknown" "$c" ---
        refuse 1 "unknown option \"--\"$unknown" "$c" --=
        refuse 1 "unknown option \"--\"$unknown" "$c" --=x
        refuse 1 "unknown option \"-\\xff\"$unknown" "$c" $'-\xff'
        refuse 1 "unknown option \"-é\"$unknown" "$c" -é
        refuse 1 "unknown option \"--\\x1b]0;title\\x07\"$unknown" "$c" $'--\e]0;title\a'
        refuse 1 "unknown option \"--\\n\"$unknown" "$c" $'--\n'
        refuse 1 "unknown option \"--aaaa..." "$c" "--$(many 100000 a)"
        refuse 1 "--help: takes no value" "$c" --help=x
        [ "$c" = stats ] && continue # takes several files
        refuse 1 'unexpected argument "c"...' "$c" a "${second[@]}" c
        refuse 1 'unexpected argument...' "$c" a b $'\xff\e'
        refuse 1 'unexpected argument "-c"...' "$c" -- a "${second[@]}" -c
        refuse 1 'unexpected argument...' "$c" $(many 10000 'a ')
    done
    refuse 1 "--trace: given more than 16 times" stats $(many 10000 'a ')
    refuse 3 '"a\xff": No such file or directory' stats $'a\xff' b
    refuse 1 "--stop: given more than 16 times" run $(many 5000 '--stop x ')
    refuse 1 "--tensor: given more than 16 times" quantize a b --type q8_0 $(many 5000 '--tensor x=f16 ')
    refuse 1 'the name of the model is empty' run '' -p x $(many 10000 '--json ')
}

# One line for each option of a command: its label in messages, -letter or --name, the name of its value or nothing, and
# what its help says.
options_of() {
    "$sluice" "$1" --help | awk '
        /^  (    )?-/ { if (text != "") print text; text = "" }
        /^options:/ { on = 1; next }
        on && /^$/ { on = 0 }
        on { sub(/^ +/, text == "" ? "" : " "); text = text $0 }
        END { if (text != "") print text }
    ' | sed -nE -e 's/^(-[a-z])(, (--[a-z-]+))?( ([A-Z][^ ]*))? +(.*)$/\1;\3;\5;\6/p; t' \
        -e 's/^(--[a-z-]+)( ([A-Z][^ ]*|[a-z]+\|[a-z]+))? +(.*)$/\1;\1;\3;\4/p'
}

integers=('' x 1.5 1e3 0x10 ' 4' '4 ' 4k 4K 4M 1_000 nan NaN inf -inf -1 --1 + - -- 99999999999999999999
    18446744073709551616 -9223372036854775809 $'4\n' $'\xff' $'\e[1m' ٤ "$(many 50000 9)" "-$(many 50000 9)")
reals=('' x nan NaN -nan inf -inf infinity 1e999 -1e999 0x1p3 1e . - + +-1 1,5 1.5.2 ' 1' '1 ' 1k 1% $'\xff' -1 -0.001
    $'1\n' "$(many 50000 9)" 1e-)

# Every option of every command, as its help lists it.
test_values() {
    local c label name value help v n=0
    for c in $commands; do
        while IFS=';' read -r label name value help; do
            [ "$name" = --help ] && continue
            n=$((n + 1))
            if [ -z "$value" ]; then
                refuse 1 "$label: takes no value" "$c" "$name=1"
                refuse 1 "$label: takes no value" "$c" "$name="
                continue
            fi
            refuse 1 "$label: the value $value is missing" "$c" "$name"
            case $help in
            *\([0-9]*..[0-9]*each*) # a list
                for v in "${integers[@]}" , 1, ,1 1,,2 '1;2' "$(many 33 1,)1"; do
                    refuse 1 "$label: ..." "$c" "$name=$v"
                done
                ;;
            *\([0-9]*..[0-9]*)
                for v in "${integers[@]}"; do refuse 1 "$label: found ..." "$c" "$name=$v"; done
                refuse 1 "$label: found \"\", expected a whole number ..." "$c" "$name" ''
                ;;
            *\([0-9]*' <'*)
                for v in "${reals[@]}"; do refuse 1 "$label: found ..." "$c" "$name=$v"; done
                refuse 1 "$label: found \"nan\", expected a number ..." "$c" "$name" nan
                ;;
            esac
        done < <(options_of "$c")
    done
    check "the help lists options: $n" [ "$n" -gt 60 ]
    refuse 1 '-t: found -1, expected 1..256' run "$demo" -p x -t -1
    refuse 1 '-t: found 257, expected 1..256' run "$demo" -p x -t257
    refuse 1 '-t: found "4 threads", expected a whole number 1..256' run "$demo" -p x -t '4 threads'
    refuse 1 '--temp: found "nan", expected a number 0 <= T <= 100' run "$demo" -p x --temp nan
    refuse 1 '--prefill: more than 32 numbers' bench "$demo" --prefill "$(many 32 1,)1"
}

# Words that must be one of a few.
test_words() {
    local c i word shown
    local words=($'\e[31m' $'\xff' '' q4 'q8_0 ') as_shown=('\x1b[31m' '\xff' '' q4 'q8_0 ')
    for i in "${!words[@]}"; do
        word=${words[i]} shown=${as_shown[i]}
        refuse 1 "--load: found \"$shown\", expected map or read" run "$tiny" --tokens 1 --load "$word"
        refuse 1 "--cache-type: found \"$shown\", expected f32, f16, bf16 or q8_0" \
            run "$tiny" --tokens 1 --cache-type "$word"
        for c in inspect bench; do
            refuse 1 "--cache-type: found \"$shown\", expected f32, f16, bf16 or q8_0" "$c" "$tiny" --cache-type "$word"
            refuse 1 "load as: unknown type \"$shown\", expected one of ..." "$c" "$tiny" --load-as "$word"
        done
        refuse 1 "type: unknown type \"$shown\", expected one of ..." quantize "$tiny" x.gguf --type "$word"
    done
    refuse 1 '--tensor: found "\xff", expected PATTERN=TYPE' quantize "$tiny" x.gguf --type q8_0 --tensor $'\xff'
    refuse 1 '--tensor: found "=", expected PATTERN=TYPE' quantize "$tiny" x.gguf --type q8_0 --tensor =
    refuse 1 '--tensor: found "a=", expected PATTERN=TYPE' quantize "$tiny" x.gguf --type q8_0 --tensor a=
    refuse 1 '--tensor: "aaaa...' quantize "$tiny" x.gguf --type q8_0 --tensor "$(many 256 a)=f16"
    refuse 1 'tensor rule: unknown type "\x1b", expected one of ...' \
        quantize "$tiny" x.gguf --type q8_0 --tensor $'a=\e'
    refuse 1 'tensor rule "\x1b[\xff*": fits no matrix ...' quantize "$tiny" x.gguf --type q8_0 --tensor $'\e[\xff*=f16'
    refuse 1 'tensor rule "[[[[": fits no matrix ...' quantize "$tiny" x.gguf --type q8_0 --tensor '[[[[=f16'
}

# ---- texts and tokens ----------------------------------------------------------------------------------------------

test_texts() {
    local i bytes
    local texts=($'ab\xff' $'\x80' $'\xc3' $'\xc3(' $'\xc0\x80' $'a\xed\xa0\x80' $'\xf4\x90\x80\x80'
        $'\xf8\x88\x80\x80\x80' $'\xe2\x82' $'ok \xf0\x9f\x99')
    local where=('2 (0xff)' '0 (0x80)' '0 (0xc3)' '0 (0xc3)' '0 (0xc0)' '1 (0xed)' '0 (0xf4)'
        '0 (0xf8)' '0 (0xe2)' '3 (0xf0)')
    for i in "${!texts[@]}"; do
        bytes="not UTF-8 at byte ${where[i]}"
        refuse 1 "-p: $bytes" run "$demo" -p "${texts[i]}"
        refuse 1 "-p: $bytes" tokenize "$demo" -p "${texts[i]}"
        refuse 1 "-p: $bytes" logits "$demo" -p "${texts[i]}" -o x.npy
        refuse 1 "-p: $bytes" verify "$demo" "$demo" -p "${texts[i]}"
        refuse 1 "--stop: $bytes" run "$demo" -p x --stop "${texts[i]}"
        printf '%s' "${texts[i]}" >"$work/text"
        refuse 1 "-f \"$work/text\": $bytes" tokenize "$demo" -f "$work/text"
        refuse 1 "--calibrate \"$work/text\": $bytes" quantize "$tiny" x.gguf --type q8_0 --calibrate "$work/text"
        timeout "$limit" "$sluice" tokenize "$demo" <"$work/text" >"$out" 2>"$err"
        code=$? line=$(<"$err")
        check "text $i through a pipe" [ "$code" = 1 ]
        check "text $i through a pipe: the line" says "standard input: $bytes"
    done
    refuse 1 '-p: the prompt is empty, and this model has no token to begin with' run "$demo" -p ''
    refuse 1 '-p: the text is empty and has no tokens' logits "$demo" -p '' -o x.npy
    refuse 1 '--stop: the text is empty' run "$demo" -p x --stop ''
    refuse 1 '-p and -f exclude each other' run "$demo" -p x -f x
    refuse 1 '-p and -f exclude each other' tokenize "$demo" -p '' -f ''
    refuse 1 '--tokens and -p exclude each other' logits "$tiny" --tokens 1 -p '' -o x.npy
    refuse 1 '--decode and -f exclude each other' tokenize "$demo" --decode 1 -f ''
}

test_tokens() {
    local list found="a token id 0..2147483647"
    for list in -1 1.5 2147483648 4294967297 99999999999999999999 0x1 a '1;2' nan +1 1e2; do
        refuse 1 "--tokens: found \"$list\", expected $found" run "$demo" --tokens "$list"
        refuse 1 "--tokens: found \"$list\", expected $found" logits "$tiny" --tokens "1,2,$list,3" -o x.npy
        refuse 1 "--decode: found \"$list\", expected $found" tokenize "$demo" --decode "$list"
    done
    refuse 1 "--tokens: found \"\\xff\", expected $found" run "$demo" --tokens $'1,\xff'
    refuse 1 "--tokens: found \"\\x1b[2J\", expected $found" run "$demo" --tokens $'1,\e[2J'
    refuse 1 '--tokens: found "aaaa...' run "$demo" --tokens "$(many 100000 a)"
    for list in '' , ' ' ,,,; do
        refuse 1 '--tokens: names no token id' run "$demo" --tokens "$list"
        refuse 1 '--decode: names no token id' tokenize "$demo" --decode "$list"
    done
    for list in 99999999 2147483647; do
        refuse 1 "--decode: no token has the id $list" tokenize "$demo" --decode "1,$list"
        refuse 1 "token 1: id $list is outside 0..4095" run "$demo" --tokens "1,$list" -n 1
    done
    refuse 1 'token 1: id 80 is outside 0..79' logits "$tiny" --tokens 1,80 -o x.npy
    refuse 1 'the prompt has 50000 tokens, this model at most ...' logits "$tiny" --tokens "$(many 49999 1,)1" -o x.npy
    refuse 1 'the prompt has 50000 tokens, the context ...' run "$tiny" --tokens "$(many 49999 1,)1"
    refuse 1 '--stop: this model has no tokenizer' run "$tiny" --tokens 1 --stop x
}

# ---- files ---------------------------------------------------------------------------------------------------------

long=$(many 5000 x)
mkfifo "$work/fifo"
ln -s loop "$work/loop"
: >"$work/empty"
printf 'text\n' >"$work/file"
mkdir "$work/folder"

# Opens the FIFO for writing, and closes it: who reads sees an empty file. Ends by itself.
feed() { timeout "$limit" bash -c 'exec 3>"$1"' feed "$work/fifo" & }

test_input_files() {
    local c option arguments
    for c in "run $demo -f" "tokenize $demo -f" "logits $demo -o x.npy -f" "verify $demo $demo -f" \
        "quantize $tiny x.gguf --type q8_0 --calibrate"; do
        read -ra arguments <<<"$c"
        option=${arguments[-1]}
        refuse 3 "$option \"\": No such file or directory" "${arguments[@]}" ''
        refuse 3 "$option \"$work/missing\": No such file or directory" "${arguments[@]}" "$work/missing"
        refuse 3 "$option \"$work/folder\": Is a directory" "${arguments[@]}" "$work/folder"
        refuse 3 "$option \"$work/file/x\": Not a directory" "${arguments[@]}" "$work/file/x"
        refuse 3 "$option \"$work/loop\": Too many levels of symbolic links" "${arguments[@]}" "$work/loop"
        refuse 3 "$option \"xxxx..." "${arguments[@]}" "$long"
        refuse 3 "$option \"a\\nb\\x1b\\xff\": No such file or directory" "${arguments[@]}" $'a\nb\e\xff'
        refuse 3 "$option \"/proc/self/mem\": Input/output error" "${arguments[@]}" /proc/self/mem
        refuse 1 "$option \"/dev/zero\": longer than 67108864 bytes" "${arguments[@]}" /dev/zero
    done
    feed
    refuse 1 "-f \"$work/fifo\": the prompt is empty..." run "$demo" -f "$work/fifo"
    wait
    refuse 1 '-f "/dev/null": the prompt is empty...' run "$demo" -f /dev/null
    refuse 1 "-f \"$work/empty\": the text is empty and has no tokens" logits "$demo" -f "$work/empty" -o x.npy
    refuse 1 'no text is given: use -p TEXT, -f FILE or a pipe' tokenize "$demo"
    timeout "$limit" "$sluice" tokenize "$demo" -f - <"$work/folder" >"$out" 2>"$err"
    code=$? line=$(<"$err")
    check "a folder on standard input" [ "$code" = 3 ]
    check "a folder on standard input: the line" says 'standard input: Is a directory'
}

# Every command with every kind of thing that is no model.
test_models() {
    local c arguments
    for c in 'inspect' 'tokenize -p x' 'run -p x' 'logits --tokens 1 -o x.npy' 'bench' 'verify -p x -- MODEL'; do
        read -ra arguments <<<"${c/MODEL/$tiny}"
        [ "$c" = 'verify -p x -- MODEL' ] && arguments=(verify "--load-as=q8_0" -p x)
        refuse 1 'the name of the model is empty' "${arguments[@]}" ''
        refuse 3 "$work/missing: cannot open: No such file or directory" "${arguments[@]}" "$work/missing"
        refuse 3 "$work/file/x: cannot open: Not a directory" "${arguments[@]}" "$work/file/x"
        refuse 3 "$work/loop: cannot open: Too many levels of symbolic links" "${arguments[@]}" "$work/loop"
        refuse 3 'xxxx...' "${arguments[@]}" "$long"
        refuse 3 'a\x0ab\x1b\xff: cannot open: No such file or directory' "${arguments[@]}" $'a\nb\e\xff'
        refuse 2 "$work/fifo: not a regular file" "${arguments[@]}" "$work/fifo"
        refuse 2 '/dev/zero: not a regular file' "${arguments[@]}" /dev/zero
        refuse 2 '/dev/null: not a regular file' "${arguments[@]}" /dev/null
        if [ "${arguments[0]}" = tokenize ]; then
            refuse 3 'folder: tokenizer.json: no such file' "${arguments[@]}" "$work/folder"
        else
            refuse 3 "$work/folder: config.json: cannot open: No such file or directory" \
                "${arguments[@]}" "$work/folder"
        fi
        refuse 3 '-x: cannot open: No such file or directory' "${arguments[@]}" -- -x
    done
    refuse 1 'the name of IN is empty' quantize '' x.gguf --type q8_0
    refuse 3 "$work/missing: cannot open: No such file or directory" quantize "$work/missing" x.gguf --type q8_0
    refuse 2 "$work/fifo: not a regular file" quantize "$work/fifo" x.gguf --type q8_0
    refuse 2 '/dev/zero: not a regular file' quantize /dev/zero x.gguf --type q8_0
    refuse 1 'the name of the model is empty' verify "$demo" '' -p 'two words'
    refuse 3 "$work/missing: cannot open: No such file or directory" verify "$demo" "$work/missing" -p 'two words'
    refuse 3 ': cannot open: No such file or directory' verify "$tiny" --reference ''
    refuse 2 "$work/fifo: not a regular file" verify "$tiny" --reference "$work/fifo"
    refuse 2 '/dev/zero: not a regular file' verify "$tiny" --reference /dev/zero
    refuse 2 'file: header: file too short (5 bytes, need 8)' verify "$tiny" --reference "$work/file"
}

test_output_files() {
    local name
    for name in -o --router-out; do
        local logits=(logits "$tiny" --tokens 1)
        [ "$name" = -o ] || logits+=(-o x.npy)
        refuse 3 '"": No such file or directory' "${logits[@]}" "$name" ''
        refuse 3 "\"$work/folder\": exists and is not a regular file" "${logits[@]}" "$name" "$work/folder"
        refuse 3 "\"$work/fifo\": exists and is not a regular file" "${logits[@]}" "$name" "$work/fifo"
        refuse 3 '"/dev/full": exists and is not a regular file' "${logits[@]}" "$name" /dev/full
        refuse 3 "\"$work/missing/x\": No such file or directory" "${logits[@]}" "$name" "$work/missing/x"
        refuse 3 "\"$work/missing/\": No such file or directory" "${logits[@]}" "$name" "$work/missing/"
        refuse 3 "\"$work/file/x\": Not a directory" "${logits[@]}" "$name" "$work/file/x"
        refuse 3 'the name of a file is too long' "${logits[@]}" "$name" "$long"
        refuse 3 '"a\nb\x1b\xff/x": No such file or directory' "${logits[@]}" "$name" $'a\nb\e\xff/x'
    done
    refuse 3 '"same.npy": File exists' logits "$tiny" --tokens 1 -o same.npy --router-out same.npy
    refuse 3 '--layers: "": No such file or directory' logits "$tiny" --tokens 1 -o x.npy --layers ''
    refuse 3 "--layers: \"$work/file\": Not a directory" logits "$tiny" --tokens 1 -o x.npy --layers "$work/file"
    refuse 3 "--layers: \"$work/missing/x\": No such file or directory" \
        logits "$tiny" --tokens 1 -o x.npy --layers "$work/missing/x"
    refuse 3 '"same": Is a directory' logits "$tiny" --tokens 1 -o same --layers same

    refuse 1 'the name of OUT is empty' quantize "$tiny" '' --type q8_0
    refuse 1 'OUT: found "-", expected a file...' quantize "$tiny" - --type q8_0
    for name in "$work/folder" "$work/file" "$work/fifo" /dev/full; do
        refuse 3 "$name: exists already, and is not overwritten" quantize "$tiny" "$name" --type q8_0
    done
    refuse 3 "$work/missing/x.gguf..." quantize "$tiny" "$work/missing/x.gguf" --type q8_0
    refuse 3 "$work/file/x.gguf..." quantize "$tiny" "$work/file/x.gguf" --type q8_0
    refuse 3 'a\x0ab\x1b\xff/x.gguf...' quantize "$tiny" $'a\nb\e\xff/x.gguf' --type q8_0
    refuse 3 'xxxx...' quantize "$tiny" "$long" --type q8_0
    check 'an existing file keeps its content' [ "$(cat "$work/file")" = text ]
}

test_commands
test_options
test_values
test_words
test_texts
test_tokens
test_input_files
test_models
test_output_files
check "nothing has been left: $(ls -A)" [ -z "$(ls -A)" ]
check 'nothing has been left beside files' [ -z "$(find "$work" -name '*.part')" ]

printf '%d checks, %d failed\n' "$checks" "$failures"
test "$failures" = 0
