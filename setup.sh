#!/bin/sh
# From nothing to a tested stack in seven steps: ./setup.sh --help. The steps are in tools/setup.
root=$(dirname "$(readlink -f "$0")")
PYTHONPATH="$root" exec python3 -B -m tools.setup.main "$@"
