"""The compiler as a Bazel toolchain."""

TOOLCHAIN_TYPE = "//tools/capnp:toolchain_type"

def _capnp_toolchain_impl(ctx):
    return [platform_common.ToolchainInfo(capnp = ctx.attr.capnp[DefaultInfo].files_to_run)]

capnp_toolchain = rule(
    doc = "Names the Cap'n Proto compiler.",
    implementation = _capnp_toolchain_impl,
    attrs = {
        "capnp": attr.label(doc = "The `capnp` program.", executable = True, cfg = "exec", mandatory = True),
    },
)
