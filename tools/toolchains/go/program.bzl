"""`go_program`: builds a vendored program with one call of `go build`.

A program that the build only runs needs no target for each of its packages: one action, cached like any other, costs less analysis, and go.mod at the root stays
the list of what is shipped.
"""

def _go_program_impl(ctx):
    sdk = ctx.toolchains["@rules_go//go:toolchain"].sdk
    program = ctx.actions.declare_file(ctx.label.name)
    folder = ctx.file.mod.dirname

    # `go build -C` runs in the vendored tree, so its output is named from there.
    output = "../" * len(folder.split("/")) + program.path
    ctx.actions.run(
        executable = sdk.go,
        arguments = ["build", "-C", folder, "-mod=vendor", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", output, ctx.attr.package],
        inputs = depset([ctx.file.mod, ctx.file.sum, ctx.file.vendor, sdk.root_file], transitive = [sdk.srcs, sdk.tools, sdk.headers, sdk.libs]),
        outputs = [program],
        # The sandbox's own /tmp: nothing is shared between two actions.
        env = {
            "CGO_ENABLED": "0",
            "GOCACHE": "/tmp/go-cache",
            "GOENV": "off",
            "GOPATH": "/tmp/go",
            "GOPROXY": "off",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
            "HOME": "/tmp",
        },
        mnemonic = "GoProgram",
        progress_message = "Building %{output} with go build",
    )
    return [DefaultInfo(executable = program, files = depset([program]))]

go_program = rule(
    doc = "A static program of a `go_vendor` repository.",
    implementation = _go_program_impl,
    executable = True,
    attrs = {
        "package": attr.string(doc = "Import path of its main package.", mandatory = True),
        "mod": attr.label(doc = "go.mod of the vendored tree.", allow_single_file = True, mandatory = True),
        "sum": attr.label(doc = "go.sum beside it.", allow_single_file = True, mandatory = True),
        "vendor": attr.label(doc = "The folder of modules.", allow_single_file = True, mandatory = True),
    },
    toolchains = ["@rules_go//go:toolchain"],
)
