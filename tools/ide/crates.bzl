"""What rust-analyzer needs to know of a crate: its description, and the files that only the build can make."""

load("@rules_rust//rust:defs.bzl", "rust_analyzer_aspect", "rust_common")

IdeCrateInfo = provider(
    doc = "Files of a crate and of all its dependencies. Filled by `crates_aspect`.",
    fields = {
        "generated": "depset[File]: generated sources, results of build scripts, procedural macros.",
        "sources": "depset[File]: all sources.",
    },
)

# By which a crate reaches its dependencies: rust_test has `crate`, alias has `actual`.
_EDGES = ["deps", "proc_macro_deps", "crate", "actual"]

def _dependencies(ctx):
    """Infos of the crates that a rule names."""
    targets = []
    for edge in _EDGES:
        value = getattr(ctx.rule.attr, edge, None) or []
        targets += value if type(value) == type([]) else [value]
    return [target[IdeCrateInfo] for target in targets if IdeCrateInfo in target]

def _generated(crate):
    """Files of a crate that have to be built before an editor can read them."""
    found = [file for file in crate.srcs.to_list() if not file.is_source]
    for dependency in crate.deps.to_list():
        if dependency.build_info and dependency.build_info.out_dir:
            found.append(dependency.build_info.out_dir)
    return found + ([crate.output] if crate.type == "proc-macro" else [])

def _crates_aspect_impl(target, ctx):
    dependencies = _dependencies(ctx)
    crate = None
    if rust_common.test_crate_info in target:
        crate = target[rust_common.test_crate_info].crate
    elif rust_common.crate_info in target:
        crate = target[rust_common.crate_info]
    info = IdeCrateInfo(
        generated = depset(_generated(crate) if crate else [], transitive = [each.generated for each in dependencies]),
        sources = depset(transitive = ([crate.srcs] if crate else []) + [each.sources for each in dependencies]),
    )
    if not crate:
        return [info]
    return [info, OutputGroupInfo(
        ide_crates = target[OutputGroupInfo].rust_analyzer_crate_spec,
        ide_generated = info.generated,
    )]

crates_aspect = aspect(
    doc = """Adds two output groups to a crate, each with what all its dependencies have as well.

    `ide_crates` has a description of each crate, as rust_analyzer_aspect of rules_rust writes it;
    `ide_generated` the generated sources, the results of build scripts, and the procedural
    macros.""",
    implementation = _crates_aspect_impl,
    attr_aspects = _EDGES,
    requires = [rust_analyzer_aspect],
)

def _crate_files_impl(ctx):
    infos = [target[IdeCrateInfo] for target in ctx.attr.crates]
    descriptions = [target[OutputGroupInfo].ide_crates for target in ctx.attr.crates]
    files = depset(transitive = [each for info in infos for each in [info.sources, info.generated]])
    return [DefaultInfo(files = depset(transitive = descriptions), runfiles = ctx.runfiles(transitive_files = files))]

crate_files = rule(
    doc = "The descriptions of crates as files, and in the runfiles what they name: for tests.",
    implementation = _crate_files_impl,
    attrs = {"crates": attr.label_list(doc = "Crates of this workspace.", aspects = [crates_aspect], mandatory = True)},
)
