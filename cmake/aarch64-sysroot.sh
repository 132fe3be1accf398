#!/usr/bin/env bash
# Fills build/sysroot-aarch64 with the libraries that an aarch64 build needs: apt downloads the packages for arm64 into
# a private state folder and they are unpacked, not installed. The machine's own package state is neither used nor
# changed, root is not needed, and the sources and keys are those the machine already trusts.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
sysroot=$root/build/sysroot-aarch64
packages=(libc6-dev libgomp1 libjansson-dev libpcre2-dev libutf8proc-dev libopenblas-dev libcriterion-dev)
stamp="$sysroot/.complete"
triple=aarch64-linux-gnu

if [[ -f $stamp && $(<"$stamp") == "${packages[*]}" ]]; then
    echo "complete: $sysroot"
    exit 0
fi

rm -rf "$sysroot"
state=$sysroot/.apt
mkdir -p "$state/lists/partial" "$state/archives/partial" "$sysroot/usr/lib"
: >"$state/status" # nothing counts as installed, so every dependency is fetched

apt_arm64() {
    apt-get -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State="$state" \
        -o Dir::State::status="$state/status" -o Dir::State::lists="$state/lists" -o Dir::Cache="$state" \
        -o APT::Sandbox::User="$(id -un)" -o APT::Install-Recommends=false -o Acquire::Languages=none \
        -o Acquire::Retries=3 -o Debug::NoLocking=true "$@"
}

apt_arm64 update || echo "apt-get update had errors; going on with the lists that arrived"
if ! apt_arm64 install -y --download-only "${packages[@]}"; then
    echo "The configured apt sources offer no arm64 packages (Debian's do; Ubuntu keeps them on another server)." >&2
    exit 3
fi

# Debian 12 packages still hold /lib, newer ones only /usr/lib; with the link both end in one place.
ln -s usr/lib "$sysroot/lib"
for deb in "$state"/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -C "$sysroot" --keep-directory-symlink -x
done

# What the packages' install scripts would do: choose the OpenBLAS build through links.
libraries=$sysroot/usr/lib/$triple
for file in "$libraries/openblas-pthread"/*.so* "$libraries/openblas-pthread/pkgconfig"/*.pc; do
    [[ -e $file ]] || continue
    place=$libraries
    [[ $file == *.pc ]] && place=$place/pkgconfig
    [[ -e $place/${file##*/} ]] || ln -s "$(realpath --relative-to="$place" "$file")" "$place/${file##*/}"
done

# Absolute links inside packages mean the sysroot, not this machine.
find "$sysroot" -type l -lname '/*' | while read -r link; do
    ln -snf "$(realpath -m --relative-to="$(dirname "$link")" "$sysroot$(readlink "$link")")" "$link"
done

rm -rf "$state"
echo "${packages[*]}" >"$stamp"
echo "complete: $sysroot"
