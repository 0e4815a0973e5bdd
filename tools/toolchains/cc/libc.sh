#!/bin/sh
# Builds libc/, the start files and libraries that every link needs. It runs in the root of the zig
# repository.
#
# libc/ is an input of every action that links, so it must have the same bytes wherever it is built:
# without debug information, which would contain the path of this folder.
set -eu
for name in cc c++ ar; do ln -sf zig.sh "bin/$name"; chmod +x bin/zig.sh; done
mkdir libc scratch
export ZIG_GLOBAL_CACHE_DIR="$PWD/scratch" ZIG_LOCAL_CACHE_DIR="$PWD/scratch"
printf 'int main(void) { return 0; }\n' > scratch/main.c
zig() { ziglang/zig cc -target x86_64-linux-gnu.2.28 -fno-sanitize=undefined -Wl,--strip-debug scratch/main.c "$@"; }
zig -o scratch/program
zig -pie -fPIE -lgcc_s -o scratch/position_independent
cp scratch/o/*/*crt1.o scratch/o/*/*.a scratch/o/*/*.so.* libc/
rm -rf scratch
