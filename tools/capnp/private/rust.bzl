"""`rust_capnp_library`: Rust bindings."""

load("@rules_rust//rust:defs.bzl", "rust_library")
load(":generate.bzl", "relative_name", "run_plugin")
load(":plain.bzl", "plain")
load(":providers.bzl", "CapnpInfo")

def _module(source):
    return source.basename.removesuffix(".capnp").replace("-", "_") + "_capnp"

def _rust_capnp_sources_impl(ctx):
    info = ctx.attr.schema[CapnpInfo]
    outputs = {}
    for source in info.sources:
        name = relative_name(info, source).removesuffix(".capnp") + "_capnp.rs"
        outputs[name] = ctx.actions.declare_file("{}/{}.rs".format(ctx.label.name, _module(source)))
    run_plugin(ctx, info, ctx.attr._plugin[0][DefaultInfo].files_to_run, outputs, "CapnpRust")

    # Generated code finds an imported schema as a module of its own crate's root.
    root = ctx.actions.declare_file(ctx.label.name + "/lib.rs")
    lines = ["//! Bindings of {}.".format(ctx.attr.schema.label)]
    lines += ["pub use {}::*;".format(crate) for crate in ctx.attr.crates]
    lines += ["#[allow(clippy::all, clippy::restriction, missing_docs, unused, reason = \"generated code\")]\npub mod {};".format(_module(source)) for source in info.sources]
    ctx.actions.write(root, "\n".join(lines) + "\n")
    return [DefaultInfo(files = depset([root] + outputs.values()))]

rust_capnp_sources = rule(
    doc = "The Rust files of a schema. Used through `rust_capnp_library`.",
    implementation = _rust_capnp_sources_impl,
    attrs = {
        "schema": attr.label(doc = "The capnp_library.", providers = [CapnpInfo], mandatory = True),
        "crates": attr.string_list(doc = "Crate names of the bindings of imported schemas."),
        # In the target's configuration: we build for the one platform that we build on, and the
        # exec configuration would compile the standard library and the bindings' own library a
        # second time. Not instrumented: a plugin is a tool, whatever its output is for.
        "_plugin": attr.label(default = "@crates//:capnpc__capnpc-rust", executable = True, cfg = plain),
    },
)

def rust_capnp_library(name, schema, deps = [], **kwargs):
    """Rust bindings of a schema, as a rust_library whose crate is called `name`.

    A schema x.capnp is its module `x_capnp`; the modules of `deps` are exported again.

    Args:
        name: of the library and its crate.
        schema: the capnp_library.
        deps: bindings of the schemas that this one imports.
        **kwargs: given to rust_library.
    """
    rust_capnp_sources(
        name = name + "_sources",
        crates = [native.package_relative_label(dep).name for dep in deps],
        schema = schema,
        # As visible as the library: tools/schema_gen hands the files to an IDE.
        visibility = kwargs.get("visibility"),
    )
    rust_library(
        name = name,
        srcs = [name + "_sources"],
        crate_name = name,
        deps = deps + ["@crates//:capnp"],
        **kwargs
    )
