#!/bin/sh
# Fills warm/ with the parts of the C library that linking needs, so that no action builds them. Run in the root of the zig repository.
set -eu
for name in cc c++ ar; do ln -sf zig.sh "bin/$name"; chmod +x bin/zig.sh; done
export ZIG_GLOBAL_CACHE_DIR="$PWD/warm" ZIG_LOCAL_CACHE_DIR="$PWD/warm"
mkdir -p warm scratch
printf 'int main(void) { return 0; }\n' > scratch/main.c
zig() { ziglang/zig cc -target x86_64-linux-gnu.2.28 -fno-sanitize=undefined "$@"; }
# What rustc links with beside the C library.
libraries="-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc"
zig -c -fPIC scratch/main.c -o scratch/main.o
zig scratch/main.o -o scratch/main
zig -pie -nodefaultlibs scratch/main.o -o scratch/main $libraries
zig -shared scratch/main.o -o scratch/main.so $libraries
rm -rf scratch warm/tmp
