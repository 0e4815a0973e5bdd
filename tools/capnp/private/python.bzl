"""`py_capnp_library`: Python bindings over pycapnp, with typed stubs. `py_capnp_constants`: constants and enums without pycapnp."""

load("@rules_python//python:defs.bzl", "py_library")
load(":generate.bzl", "relative_name")
load(":providers.bzl", "CapnpInfo")

def _py_capnp_sources_impl(ctx):
    info = ctx.attr.schema[CapnpInfo]
    modules, stubs = [], []
    for source in info.sources:
        stem = relative_name(info, source).removesuffix(".capnp") + "_capnp"
        modules.append(ctx.actions.declare_file(stem + ".py"))
        stubs.append(ctx.actions.declare_file(stem + ".pyi"))
    arguments = ctx.actions.args()
    arguments.add("--request", info.request)
    arguments.add("--package", ctx.label.package)
    arguments.add_all(info.import_paths, before_each = "--import-path")
    for source, module, stub in zip(info.sources, modules, stubs):
        arguments.add("--file")
        arguments.add_all([relative_name(info, source), module, stub])
    ctx.actions.run(
        executable = ctx.executable._generator,
        arguments = [arguments],
        inputs = [info.request],
        outputs = modules + stubs,
        mnemonic = "CapnpPython",
        progress_message = "Generating CapnpPython from Cap'n Proto schema %{label}",
    )
    return [
        DefaultInfo(files = depset(modules), runfiles = ctx.runfiles(files = stubs, transitive_files = info.transitive_sources)),
        OutputGroupInfo(stubs = depset(stubs)),
    ]

py_capnp_sources = rule(
    doc = "The Python modules and stubs of a schema. Used through `py_capnp_library`.",
    implementation = _py_capnp_sources_impl,
    attrs = {
        "schema": attr.label(doc = "The capnp_library.", providers = [CapnpInfo], mandatory = True),
        "_generator": attr.label(default = "//tools/capnp/private/python_bindings", executable = True, cfg = "exec"),
    },
)

def py_capnp_library(name, schema, deps = [], **kwargs):
    """Python bindings of a schema: `from PACKAGE import x_capnp` for x.capnp.

    The module loads the schema, which the build has checked, through pycapnp. Its stub types readers, builders, enums and unions.

    Args:
        name: of the library.
        schema: the capnp_library.
        deps: bindings of the schemas that this one imports.
        **kwargs: given to py_library.
    """
    py_capnp_sources(
        name = name + "_sources",
        schema = schema,
        # As visible as the library: tools/schema_gen hands the files to an IDE.
        visibility = kwargs.get("visibility"),
    )
    py_library(
        name = name,
        srcs = [name + "_sources"],
        data = [name + "_sources"],
        deps = deps + ["//third_party/python:pycapnp"],
        **kwargs
    )

def _py_capnp_constants_impl(ctx):
    info = ctx.attr.schema[CapnpInfo]
    if len(info.sources) != 1:
        fail("{}: {} has {} schemas; py_capnp_constants takes a capnp_library of one".format(ctx.label, ctx.attr.schema.label, len(info.sources)))
    name = relative_name(info, info.sources[0])
    module = ctx.outputs.out or ctx.actions.declare_file(name.removesuffix(".capnp") + "_constants.py")
    arguments = ctx.actions.args()
    arguments.add("--request", info.request)
    arguments.add("--constants")
    arguments.add_all([name, module])
    ctx.actions.run(
        executable = ctx.executable._generator,
        arguments = [arguments],
        inputs = [info.request],
        outputs = [module],
        mnemonic = "CapnpConstants",
        progress_message = "Generating CapnpConstants from Cap'n Proto schema %{label}",
    )
    return [DefaultInfo(files = depset([module]))]

py_capnp_constants = rule(
    doc = """The constants and enums of a schema as one plain Python module, for the `srcs` of a py_library: `MAX_SHARDS = 1024`, enums as `enum.IntEnum`.

It imports no pycapnp, so that a program which never reads a message need not bring it along.""",
    implementation = _py_capnp_constants_impl,
    attrs = {
        "schema": attr.label(doc = "The capnp_library, of one schema.", providers = [CapnpInfo], mandatory = True),
        "out": attr.output(doc = "The module; by default `x_constants.py` for x.capnp."),
        "_generator": attr.label(default = "//tools/capnp/private/python_bindings", executable = True, cfg = "exec"),
    },
)
