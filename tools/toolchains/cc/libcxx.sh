#!/bin/sh
# libcxx.sh ZIG ARCHIVE: the C++ library of zig, with that of its exceptions, as one archive.
#
# Without debug information, which would contain the path of this sandbox.
set -eu
zig=$1 archive=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export ZIG_GLOBAL_CACHE_DIR="$scratch/cache" ZIG_LOCAL_CACHE_DIR="$scratch/cache"
printf 'int main() { return 0; }\n' > "$scratch/main.cpp"
"$zig" c++ -target x86_64-linux-gnu.2.28 -fPIC -fno-sanitize=undefined -Wl,--strip-debug \
  "$scratch/main.cpp" -o "$scratch/program"
{
  echo "CREATE $archive"
  for library in "$scratch"/cache/o/*/libc++.a "$scratch"/cache/o/*/libc++abi.a; do
    echo "ADDLIB $library"
  done
  printf 'SAVE\nEND\n'
} | "$zig" ar -M
