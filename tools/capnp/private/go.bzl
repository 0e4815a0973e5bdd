"""`go_capnp_library`: Go bindings."""

load("@rules_go//go:def.bzl", "go_library")
load(":generate.bzl", "relative_name", "run_plugin")
load(":plain.bzl", "plain")
load(":providers.bzl", "CapnpInfo")

def _go_capnp_sources_impl(ctx):
    info = ctx.attr.schema[CapnpInfo]
    outputs = {}
    for source in info.sources:
        name = relative_name(info, source) + ".go"
        outputs[name] = ctx.actions.declare_file(ctx.label.name + "/" + name)
    run_plugin(ctx, info, ctx.attr._plugin[0][DefaultInfo].files_to_run, outputs, "CapnpGo")
    return [DefaultInfo(files = depset(outputs.values()))]

go_capnp_sources = rule(
    doc = "The Go files of a schema. Used through `go_capnp_library`.",
    implementation = _go_capnp_sources_impl,
    attrs = {
        "schema": attr.label(doc = "The capnp_library.", providers = [CapnpInfo], mandatory = True),
        # In the target's configuration: we build for the one platform that we build on, and the
        # exec configuration would compile the standard library and the bindings' own library a
        # second time. Not instrumented: a plugin is a tool, whatever its output is for.
        "_plugin": attr.label(default = "@org_capnproto_go_capnp_v3//capnpc-go", executable = True, cfg = plain),
    },
)

def go_capnp_library(name, schema, importpath, deps = [], **kwargs):
    """Go bindings of a schema, as a go_library.

    Args:
        name: of the library.
        schema: the capnp_library; its files carry `$Go.package` and `$Go.import` annotations.
        importpath: the Go import path, as `$Go.import` says.
        deps: bindings of the schemas that this one imports.
        **kwargs: given to go_library.
    """
    go_capnp_sources(
        name = name + "_sources",
        schema = schema,
        # As visible as the library: tools/schema_gen hands the files to an IDE.
        visibility = kwargs.get("visibility"),
    )
    go_library(
        name = name,
        srcs = [name + "_sources"],
        importpath = importpath,
        deps = deps + [
            "@org_capnproto_go_capnp_v3//:capnp",
            "@org_capnproto_go_capnp_v3//encoding/text",
            "@org_capnproto_go_capnp_v3//flowcontrol",
            "@org_capnproto_go_capnp_v3//schemas",
            "@org_capnproto_go_capnp_v3//server",
        ],
        **kwargs
    )
