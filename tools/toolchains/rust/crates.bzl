"""`cargo_crates`: all crates of a Cargo.lock in one repository, each built by rules_rust.

cargo resolves and fetches; this file only translates what `cargo metadata` says into BUILD files. Features are those that cargo unifies over the whole
lock for the one platform that we build on. The repository is a pure function of Cargo.toml and Cargo.lock.
"""

load("//tools/toolchains:fetch.bzl", "dist_dir", "is_fetched", "run", "verified_path")

_PLATFORM = "x86_64-unknown-linux-gnu"

def _checksums(ctx):
    """Reads Cargo.lock; returns a dict of "name-version" to sha256."""
    found = {}
    for block in ctx.read(ctx.attr.lock).split("[[package]]")[1:]:
        fields = {}
        for line in block.split("\n"):
            if " = " in line:
                key, value = line.split(" = ", 1)
                fields[key] = value.strip('"')
        if "checksum" in fields:
            found["{}-{}".format(fields["name"], fields["version"])] = fields["checksum"]
    return found

def _cargo(ctx, folder, arguments, purpose):
    return run(
        ctx,
        [ctx.path(ctx.attr._cargo)] + arguments,
        purpose,
        environment = {
            "CARGO_HOME": folder + "/cargo",
            "CARGO_NET_OFFLINE": "true" if "--offline" in arguments else "false",
            "RUSTC": str(ctx.path(ctx.attr._rustc)),
        },
        working_directory = "_workspace",
    )

def _fetch(ctx, folder):
    """Has cargo fetch what the platform needs and describe it; returns the decoded metadata."""
    run(ctx, ["mkdir", "-p", "_workspace"], "make a workspace")
    ctx.template("_workspace/Cargo.toml", ctx.attr.manifest)
    ctx.template("_workspace/Cargo.lock", ctx.attr.lock)
    ctx.file("_workspace/lib.rs", "")
    complete = folder + "/cargo/complete-" + run(ctx, ["sh", "-c", "sha256sum _workspace/Cargo.lock | cut -c1-16"], "hash the lock").strip()
    if not ctx.path(complete).exists:
        ctx.report_progress("cargo fetch")
        _cargo(ctx, folder, ["fetch", "--locked", "--quiet", "--target", _PLATFORM], "fetch crates")
        run(ctx, ["touch", complete], "note that all crates are there")
    text = _cargo(
        ctx,
        folder,
        ["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", _PLATFORM],
        "describe the crates",
    )
    return json.decode(text)

def _list(values, indent = "    "):
    """A Starlark list of strings, sorted, over several lines."""
    if not values:
        return "[]"
    return "[\n" + "".join(["{}    {},\n".format(indent, repr(value)) for value in sorted(values)]) + indent + "]"

def _dict(values, indent = "    "):
    if not values:
        return "{}"
    return "{\n" + "".join(["{}    {}: {},\n".format(indent, repr(key), repr(value)) for key, value in sorted(values.items())]) + indent + "}"

def _folder(package):
    return "{}-{}".format(package["name"], package["version"])

def _target_of(package, kinds):
    for target in package["targets"]:
        for kind in target["kind"]:
            if kind in kinds:
                return target
    return None

_LIBRARY_KINDS = ["lib", "rlib", "proc-macro", "cdylib", "staticlib"]

def _library(package):
    return _target_of(package, _LIBRARY_KINDS)

def _is_proc_macro(package):
    target = _library(package)
    return target != None and "proc-macro" in target["kind"]

def _label(package):
    return "//{}:{}".format(_folder(package), _library(package)["name"].replace("-", "_"))

def _dependencies(node, packages, build):
    """Dependencies of a package for its library (build = False) or its build script.

    Returns:
        struct of labels: deps, proc_macros, aliases (label to name), links (those that pass variables to build scripts).
    """
    deps, macros, aliases, links = [], [], {}, []
    for dep in node["deps"]:
        kinds = [kind["kind"] for kind in dep["dep_kinds"]]
        if not (("build" in kinds) if build else (None in kinds)):
            continue
        package = packages[dep["pkg"]]
        if not _library(package):
            continue
        label = _label(package)
        if _is_proc_macro(package):
            macros.append(label)
        else:
            deps.append(label)
            if package["links"]:
                links.append(label)
        if dep["name"] != _library(package)["name"].replace("-", "_"):
            aliases[label] = dep["name"]
    return struct(deps = deps, proc_macros = macros, aliases = aliases, links = links)

def _common(package, target, node, dependencies):
    """Attributes that every rule of a crate has."""
    root = package["manifest_path"].rsplit("/", 1)[0] + "/"
    return """    aliases = {aliases},
    crate_features = {features},
    crate_root = "{crate_root}",
    edition = "{edition}",
    proc_macro_deps = {proc_macros},
    srcs = glob(["**/*.rs"]),
    version = "{version}",
""".format(
        aliases = _dict(dependencies.aliases),
        features = _list(node["features"]),
        crate_root = target["src_path"].removeprefix(root),
        edition = target["edition"],
        proc_macros = _list(dependencies.proc_macros),
        version = package["version"],
    )

_HEADER = '''load("@rules_rust//cargo:defs.bzl", "cargo_build_script")
load("@rules_rust//rust:defs.bzl", "rust_binary", "rust_library", "rust_proc_macro")

package(default_visibility = ["//visibility:public"])

_DATA = glob(
    ["**"],
    exclude = ["**/*.rs", "**/* *", "BUILD.bazel"],
    allow_empty = True,
)
'''

def _build_file(package, node, packages, environment):
    """The BUILD file of one crate."""
    text = _HEADER
    library = _library(package)
    normal = _dependencies(node, packages, build = False)
    script = _target_of(package, ["custom-build"])
    extra = []
    if script:
        build = _dependencies(node, packages, build = True)
        text += """
cargo_build_script(
    name = "build_script",
{common}    build_script_env = {environment},
    crate_name = "build_script_build",
    data = _DATA + glob(["**/*.rs"]),
    deps = {deps},
    link_deps = {link_deps},
    links = {links},
    pkg_name = "{name}",
    rustc_flags = ["--cap-lints=allow"],
)
""".format(
            common = _common(package, script, node, build),
            environment = _dict(environment),
            deps = _list(build.deps),
            link_deps = _list(normal.links),
            links = repr(package["links"] or ""),
            name = package["name"],
        )
        extra = [":build_script"]
    if library:
        text += """
{rule}(
    name = "{name}",
{common}    compile_data = _DATA,
    crate_name = "{name}",
    deps = {deps},
    rustc_flags = ["--cap-lints=allow"],
)
""".format(
            rule = "rust_proc_macro" if _is_proc_macro(package) else "rust_library",
            name = library["name"].replace("-", "_"),
            common = _common(package, library, node, normal),
            deps = _list(normal.deps + extra),
        )
    for target in package["targets"]:
        if target["kind"] == ["bin"] and library:
            text += """
rust_binary(
    name = "bin_{name}",
{common}    compile_data = _DATA,
    crate_name = "{crate}",
    deps = {deps},
    rustc_flags = ["--cap-lints=allow"],
    tags = ["manual"],
)
""".format(
                name = target["name"],
                crate = target["name"].replace("-", "_"),
                common = _common(package, target, node, normal),
                deps = _list(normal.deps + extra + [":" + library["name"].replace("-", "_")]),
            )
    return text

def _cargo_crates_impl(ctx):
    folder = dist_dir(ctx)
    metadata = _fetch(ctx, folder)
    checksums = _checksums(ctx)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root_id = metadata["resolve"]["root"]
    sources = run(ctx, ["sh", "-c", 'cd "$1"/cargo/registry/cache && ls -d "$PWD"/*', "list", folder], "find cargo's cache").strip().split("\n")

    for id, node in nodes.items():
        if id == root_id:
            continue
        package = packages[id]
        name = _folder(package)
        source = [path for path in sources if is_fetched(ctx, path, name + ".crate")]
        if not source or name not in checksums:
            fail("{}: cargo did not fetch {} from a registry; only crates with a checksum in Cargo.lock can be used".format(ctx.name, name))
        archive = verified_path(ctx, source[0], name + ".crate", checksums[name])
        run(ctx, ["tar", "-xzf", archive], "unpack " + name)
        run(ctx, ["sh", "-c", 'find "$1" \\( -name BUILD -o -name BUILD.bazel -o -name WORKSPACE \\) -delete', "clean", name], "remove foreign BUILD files")
        environment = ctx.attr.build_script_env.get(package["name"], "")
        ctx.file(name + "/BUILD.bazel", _build_file(
            package,
            node,
            packages,
            dict([pair.split("=", 1) for pair in environment.split(";") if pair]),
        ))

    aliases = ['package(default_visibility = ["//visibility:public"])\n']
    for dep in nodes[root_id]["deps"]:
        package = packages[dep["pkg"]]
        aliases.append('alias(name = "{}", actual = "{}")\n'.format(package["name"], _label(package)))
        for target in package["targets"]:
            if target["kind"] == ["bin"]:
                aliases.append('alias(name = "{0}__{1}", actual = "//{2}:bin_{1}")\n'.format(package["name"], target["name"], _folder(package)))
    ctx.file("BUILD.bazel", "".join(aliases))
    ctx.delete("_verified")
    ctx.delete("_workspace")

cargo_crates = repository_rule(
    doc = "The crates of a Cargo.lock. `@crates//:NAME` is a direct dependency of the manifest, `@crates//:NAME__BIN` one of its programs.",
    implementation = _cargo_crates_impl,
    attrs = {
        "manifest": attr.label(doc = "Cargo.toml with the direct dependencies.", mandatory = True),
        "lock": attr.label(doc = "Cargo.lock.", mandatory = True),
        "build_script_env": attr.string_dict(doc = "Crate -> `NAME=value;...` for its build script."),
        "_cargo": attr.label(default = "@debian_rust//:bin/cargo"),
        "_rustc": attr.label(default = "@debian_rust//:bin/rustc"),
    },
    environ = ["PANGEA_DIST_DIR"],
)
