"""`launcher`: a program of a `debian_packages` repository as an executable target."""

# Beside the target's own runfiles, or among those of whatever has it as data. A link to the program
# would not do: on a machine that runs actions for others it is a copy, and the program no longer
# finds its files.
_SCRIPT = """#!/bin/sh
case "$0" in /*) self=$0 ;; *) self=$PWD/$0 ;; esac
for runfiles in "$self.runfiles" "${{self%.runfiles/*}}.runfiles"; do
  [ -x "$runfiles/{program}" ] && exec "$runfiles/{program}" "$@"
done
echo "$0: {program} is not among its runfiles" >&2
exit 127
"""

def _launcher_impl(ctx):
    executable = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.write(executable, _SCRIPT.format(program = ctx.file.program.short_path.removeprefix("../")), is_executable = True)
    return [DefaultInfo(
        executable = executable,
        files = depset([executable]),
        runfiles = ctx.runfiles(files = [ctx.file.program] + ctx.files.runtime),
    )]

launcher = rule(
    doc = "Makes a launcher script of a Debian repository runnable, with the files that it needs.",
    implementation = _launcher_impl,
    executable = True,
    attrs = {
        "program": attr.label(doc = "The launcher script.", allow_single_file = True, mandatory = True),
        "runtime": attr.label_list(doc = "The program and its libraries.", allow_files = True, mandatory = True),
    },
)
