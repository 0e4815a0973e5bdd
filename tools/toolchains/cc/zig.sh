#!/bin/sh
# Runs one zig tool, `cc`, `c++` or `ar`, according to the name that this script is started with.
#
# Objects are linked directly by zig's linker (LLD) with the C library in libc/. zig's compiler
# driver would build the parts of that library in each link, which takes 10 s and puts the path of
# the sandbox into them. Everything else (compiling, or linking C++ with its library) is done by the
# driver, with an empty cache that no other action sees.
set -eu
root=$(readlink -f "$0")
root=${root%/*/*}
tool=${0##*/}
zig=$root/ziglang/zig
[ "$tool" != ar ] || exec "$zig" ar "$@"

scratch=$(mktemp -d "${TMPDIR:-/tmp}/zig.XXXXXXXX")
trap 'rm -rf "$scratch"' EXIT

# All arguments, one per line, quoted as in the parameter files that Bazel and rustc write.
for argument; do
  case "$argument" in
    @*) cat "${argument#@}" ;;
    *[\ \\\"\']*) printf '%s\n' "$argument" | sed "s/[ \\\\\"']/\\\\&/g" ;;
    *) printf '%s\n' "$argument" ;;
  esac
done > "$scratch/arguments"
given() { grep -Eq -- "^($1)\$" "$scratch/arguments"; }

if given '-[cESxv]|-M.*|-###|--?(version|print|dump|help).*|-static|-static-pie|-l(std)?c\+\+|.*\.(c|cc|cpp|cxx|C|s|S)' || ! given '-o.*'; then
  export ZIG_GLOBAL_CACHE_DIR="$scratch/cache" ZIG_LOCAL_CACHE_DIR="$scratch/cache"
  # -fno-sanitize: zig enables undefined-behaviour traps in debug builds, which the C code of others
  # is not written for.
  "$zig" "$tool" -target x86_64-linux-gnu.2.28 -fno-sanitize=undefined "$@"
  exit
fi

if given -shared; then
  start=
elif given -pie; then
  start=$root/libc/Scrt1.o
else
  start=$root/libc/crt1.o
fi
# What remains for the linker: its own options without -Wl, and no compiler options. The complete C
# library is named below.
sed -E -e '/^-Wl,/{s///;y/,/\n/;b}' -e 's/^-rdynamic$/--export-dynamic/' \
  -e '/^-(Xlinker|m64|nodefaultlibs|nostdlib|nostartfiles|pthread|static-libgcc|no-canonical-prefixes|[fgODW].*)$/d' \
  -e '/^-l(gcc|gcc_s|gcc_eh|unwind|c|m|dl|pthread|rt|util|resolv)$/d' "$scratch/arguments" > "$scratch/linker_arguments"
# shellcheck disable=SC2086  # Without a start file there is no argument.
"$zig" ld.lld -m elf_x86_64 --build-id=none --eh-frame-hdr -z now --dynamic-linker /lib64/ld-linux-x86-64.so.2 $start "@$scratch/linker_arguments" \
  --as-needed "$root"/libc/lib*.so.* "$root/libc/libunwind.a" "$root/libc/libc_nonshared.a" "$root/libc/libcompiler_rt.a"
