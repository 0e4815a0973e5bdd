"""`go_sdk_files`: the locked Go as files, for tests that run it."""

def _go_sdk_files_impl(ctx):
    sdk = ctx.toolchains["@rules_go//go:toolchain"].sdk
    files = depset([sdk.go, sdk.root_file], transitive = [sdk.srcs, sdk.tools, sdk.headers, sdk.libs])
    return [DefaultInfo(files = depset([sdk.go]), runfiles = ctx.runfiles(transitive_files = files))]

go_sdk_files = rule(
    doc = "The program `go`; its runfiles are the whole SDK.",
    implementation = _go_sdk_files_impl,
    toolchains = ["@rules_go//go:toolchain"],
)
