"""`capnp_library`: checks schemas and compiles them once for all languages."""

load(":providers.bzl", "CapnpInfo")
load(":toolchain.bzl", "TOOLCHAIN_TYPE")

def _join(*parts):
    return "/".join([part for part in parts if part])

def _capnp_library_impl(ctx):
    for source in ctx.files.srcs:
        if source.extension != "capnp":
            fail("{}: srcs holds {}; a capnp_library takes .capnp files".format(ctx.label, source.short_path))
    prefix = _join(ctx.label.workspace_root, ctx.label.package)
    own_path = _join(prefix, ctx.attr.import_root) if ctx.attr.import_root else "."
    import_paths = depset([own_path], transitive = [dep[CapnpInfo].import_paths for dep in ctx.attr.deps])
    sources = depset(ctx.files.srcs, transitive = [dep[CapnpInfo].transitive_sources for dep in ctx.attr.deps])
    request = ctx.actions.declare_file(ctx.label.name + ".request")

    arguments = ctx.actions.args()
    arguments.add(ctx.toolchains[TOOLCHAIN_TYPE].capnp.executable)
    arguments.add(request)
    arguments.add_all(["compile", "--no-standard-import", "-o-"])
    arguments.add("--src-prefix=" + (prefix or "."))
    arguments.add_all(import_paths, format_each = "--import-path=%s")
    arguments.add_all(ctx.files.srcs)
    ctx.actions.run_shell(
        command = 'capnp=$1 request=$2; shift 2; "$capnp" "$@" > "$request"',
        arguments = [arguments],
        inputs = sources,
        outputs = [request],
        tools = [ctx.toolchains[TOOLCHAIN_TYPE].capnp],
        mnemonic = "CapnpCompile",
        progress_message = "Compiling Cap'n Proto schema %{label}",
    )
    return [
        DefaultInfo(files = depset([request])),
        CapnpInfo(
            sources = ctx.files.srcs,
            source_prefix = prefix,
            request = request,
            transitive_sources = sources,
            import_paths = import_paths,
        ),
    ]

capnp_library = rule(
    doc = """Cap'n Proto schemas of one package.

Building it compiles them: an error of the compiler, with file and line, fails the build. Absolute imports start at the workspace's root.""",
    implementation = _capnp_library_impl,
    attrs = {
        "srcs": attr.label_list(doc = "The schemas.", allow_files = True, allow_empty = False, mandatory = True),
        "deps": attr.label_list(doc = "The libraries whose schemas `srcs` import.", providers = [CapnpInfo]),
        "import_root": attr.string(doc = "Folder below this package that absolute imports of these schemas start at (`.` for the package itself), instead of the workspace's root."),
    },
    toolchains = [TOOLCHAIN_TYPE],
)
