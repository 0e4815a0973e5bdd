"""`launcher`: a program of a `debian_packages` repository as an executable target."""

def _launcher_impl(ctx):
    executable = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = executable, target_file = ctx.file.program, is_executable = True)
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
