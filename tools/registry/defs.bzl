"""`registry_hashes`: the hashes of this folder's files, as they are now."""

def _registry_hashes_impl(ctx):
    folder = ctx.path(ctx.attr.registry).dirname

    # Also the stubs, which are packages of other modules and so no inputs of a target here.
    ctx.watch_tree(folder)
    command = 'cd "$1" && find bazel_registry.json modules stubs -type f | LC_ALL=C sort | xargs sha256sum'
    result = ctx.execute(["sh", "-c", command, "hash", folder])
    if result.return_code != 0:
        fail("{}: cannot hash the files of {}: {}".format(ctx.name, folder, result.stderr))
    ctx.file("actual.sha256", result.stdout)
    ctx.file("BUILD.bazel", 'exports_files(["actual.sha256"])\n')

registry_hashes = repository_rule(
    doc = "A file `actual.sha256` in the format of sha256sum.",
    implementation = _registry_hashes_impl,
    attrs = {"registry": attr.label(doc = "bazel_registry.json.", mandatory = True)},
)
