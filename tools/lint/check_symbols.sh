#!/usr/bin/env bash
# Whoever links the library sees only names that begin with sluice_. In the shared library every exported symbol counts,
# in the static one every global symbol that is not hidden.
#   check_symbols.sh <build folder>
set -euo pipefail

build=${1:-build}
libraries=0 status=0

complain() { # <library>, names on standard input
    local name
    while read -r name; do
        echo "$1:0: exports $name, which does not begin with sluice_"
        status=1
    done
}

if [[ -f $build/libsluice.so ]]; then
    libraries=$((libraries + 1))
    complain "$build/libsluice.so" < <(nm -D --defined-only "$build/libsluice.so" |
        awk '$2 ~ /[A-Z]/ && $3 !~ /^sluice_/ { print $3 }')
fi
if [[ -f $build/libsluice.a ]]; then
    libraries=$((libraries + 1))
    # readelf's columns: number value size type binding visibility section name
    complain "$build/libsluice.a" < <(readelf -Ws "$build/libsluice.a" |
        awk '$5 ~ /GLOBAL|WEAK/ && $6 == "DEFAULT" && $7 != "UND" && $8 !~ /^sluice_/ { print $8 }' | sort -u)
fi
if ((libraries == 0)); then
    echo "$build: no libsluice.so or libsluice.a to look at"
    status=1
fi
exit "$status"
