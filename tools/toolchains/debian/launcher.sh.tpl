#!/bin/sh
# Starts {program} under its own loader with its own libraries, so that nothing of the host's C
# library is used.
self=$(readlink -f "$0")
root=${self%/*/*}
lib=$root/usr/lib/x86_64-linux-gnu
{exports}exec "$lib/ld-linux-x86-64.so.2" --library-path "$lib/openblas-pthread:$lib:$root/usr/lib" \
  --argv0 "$root/{program}" "$root/{program}" "$@"
