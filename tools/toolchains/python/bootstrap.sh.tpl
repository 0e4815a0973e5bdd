#!/bin/sh
# Starts a Python program of this workspace with the toolchain's interpreter, not with the host's.
case "$0" in /*) self=$0 ;; *) self=$PWD/$0 ;; esac
runfiles=${RUNFILES_DIR:-$self.runfiles}
[ -d "$self.runfiles" ] && runfiles=$self.runfiles
case "$runfiles" in /*) ;; *) runfiles=$PWD/$runfiles ;; esac
path=$runfiles/%workspace_name%
imports=%imports%
IFS=:
for import in $imports; do path=$path:$runfiles/$import; done
unset IFS
unset PYTHONHOME PYTHONPLATLIBDIR PYTHONSTARTUP LD_PRELOAD
export PYTHONPATH="$path" PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1 RUNFILES_DIR="$runfiles"
case "%python_binary%" in /*) python=%python_binary% ;; *) python=$runfiles/%python_binary% ;; esac
# -P: modules are not imported from the folder of the program, which its real path would name.
exec "$python" -P "$runfiles/%main%" "$@"
