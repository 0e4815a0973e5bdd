"""`go_vendor`: the sources of Go programs that the build runs, with all their modules, as Go's own command vendors them."""

load("//tools/toolchains:fetch.bzl", "dist_dir", "run")

def _go_vendor_impl(ctx):
    for lock in (ctx.attr.mod, ctx.attr.sum):
        ctx.template(lock.name, lock)
    ctx.report_progress("go mod vendor")
    run(
        ctx,
        [ctx.path(ctx.attr._go), "mod", "vendor"],
        "fetch and vendor the modules of " + str(ctx.attr.mod),
        environment = {
            "GOCACHE": str(ctx.path("_cache")),
            "GOENV": "off",
            # readonly: what go.sum does not have is refused. Modules are kept, and checked against
            # go.sum again when they are taken from there.
            "GOFLAGS": "-mod=readonly -modcacherw",
            "GOMODCACHE": dist_dir(ctx) + "/go",
            # go.sum has every hash; a mirror need not carry the checksum database.
            "GOSUMDB": "off",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        },
    )
    ctx.delete("_cache")

    # The tree is one input; BUILD files in it would cut it into packages.
    run(ctx, ["find", "vendor", "(", "-name", "BUILD", "-o", "-name", "BUILD.bazel", ")", "-delete"], "remove foreign BUILD files")
    ctx.file("BUILD.bazel", 'exports_files(["go.mod", "go.sum", "vendor"])\n')

go_vendor = repository_rule(
    doc = "go.mod, go.sum and `vendor`, the folder of all modules that the tools of go.mod need.",
    implementation = _go_vendor_impl,
    environ = ["GOPROXY", "PANGEA_DIST_DIR"],
    attrs = {
        "mod": attr.label(doc = "go.mod with one `tool` line a program.", mandatory = True),
        "sum": attr.label(doc = "go.sum beside it.", mandatory = True),
        "_go": attr.label(default = "@go_wheel//:go/bin/go"),
    },
)
