"""`module_text`: MODULE.bazel and the files that it includes, as one file that a test can read."""

def _module_text_impl(ctx):
    text = ctx.read(ctx.attr.module)
    for line in text.splitlines():
        if line.startswith("include("):
            text += ctx.read(Label(line.split('"')[1]))
    ctx.file("module.txt", text)
    ctx.file("BUILD.bazel", 'exports_files(["module.txt"])\n')

module_text = repository_rule(
    doc = "A file `module.txt`.",
    implementation = _module_text_impl,
    attrs = {"module": attr.label(doc = "The root's MODULE.bazel.", mandatory = True)},
)
