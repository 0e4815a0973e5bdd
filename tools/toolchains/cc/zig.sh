#!/bin/sh
# Runs one zig tool: `cc`, `c++` or `ar`, by the name that this script is started as.
#
# zig builds its C library's parts on first use and keeps them in a cache that it must be able to write. bin/warm.sh filled one when the repository was
# fetched; each run gets a private cache that links to it, so that nothing is built twice and actions share no state.
set -eu
root=$(readlink -f "$0")
root=${root%/*/*}
tool=${0##*/}
cache=$(mktemp -d "${TMPDIR:-/tmp}/zig.XXXXXXXX")
trap 'rm -rf "$cache"' EXIT
if [ -d "$root/warm/h" ]; then
  mkdir -p "$cache/h" "$cache/o" "$cache/tmp" "$cache/z" "$cache/b"
  cp "$root"/warm/h/* "$cache/h/"
  for kind in o b z; do
    for entry in "$root/warm/$kind"/*; do [ ! -e "$entry" ] || ln -s "$entry" "$cache/$kind/"; done
  done
fi
export ZIG_GLOBAL_CACHE_DIR="$cache" ZIG_LOCAL_CACHE_DIR="$cache"

if [ "$tool" = ar ]; then
  "$root/ziglang/zig" ar "$@"
  exit
fi

# zig builds its runtime again for each strip setting (10 s), and warns of linker optimisation levels: leave both out, on the command line and in
# the parameter files that Bazel writes.
unwanted='^-Wl,(--strip-debug|--strip-all|-S|-s|-O[0-9])$'
for argument; do
  shift
  case "$argument" in
    -Wl,--strip-debug | -Wl,--strip-all | -Wl,-S | -Wl,-s | -Wl,-O[0-9]) ;;
    @*)
      grep -Ev "$unwanted" "${argument#@}" > "$cache/${argument##*/}"
      set -- "$@" "@$cache/${argument##*/}"
      ;;
    *) set -- "$@" "$argument" ;;
  esac
done
# -fno-sanitize: zig turns undefined-behaviour traps on in debug builds, which other people's C code is not written for.
"$root/ziglang/zig" "$tool" -target x86_64-linux-gnu.2.28 -fno-sanitize=undefined "$@"
