#!/usr/bin/env bash
# How closely the program agrees with transformers on every tiny checkpoint, as CSV on standard output:
#
#     tests/golden/agreement.sh build/sluice > bench/results/agreement.csv
set -euo pipefail
sluice=$1
models=$(cd "$(dirname "$0")/models" && pwd)
field() { sed -nE "s/.*\"$2\": ([0-9.e+-]+).*/\1/p" <<<"$1"; }
echo "checkpoint,nmse,max_abs,max_kl,tokens,top1_equal,router_choices,router_equal"
while read -r name; do
    line=$("$sluice" verify "$models/$name" --reference "$models/$name/expected.safetensors" --json)
    router=${line#*\"router\"}
    echo "$name,$(field "$line" nmse),$(field "$line" max_abs),$(field "$line" max_kl),$(field "$line" tokens),$(
        field "$line" top1_equal),$(field "$router" choices),$(field "$router" equal)"
done <"$models/cases.txt"
