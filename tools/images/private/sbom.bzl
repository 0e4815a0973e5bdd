"""`bill_of_materials`: what an image or a wheel is made of, from its files, its programs and the locks."""

load("@rules_go//go:def.bzl", "GoArchive")
load("@rules_rust//rust:defs.bzl", "rust_common")
load(":providers.bzl", "ImageInfo")

# The repository of tools/toolchains/rust.
_CRATES = "crates"

def _go_packages(programs):
    """Import paths of the packages that are linked into Go programs, without Go's own."""
    archives = [program[GoArchive] for program in programs if GoArchive in program]
    return [package.importpath for archive in archives for package in archive.transitive.to_list() + [archive.data]]

def _crates(programs):
    """NAME-VERSION of the crates that are linked into Rust programs; those that only run at compile time are left out."""
    infos = [program[rust_common.dep_info] for program in programs if rust_common.dep_info in program]
    crates = [crate for info in infos for crate in info.transitive_crates.to_list()]
    return [crate.owner.package for crate in crates if crate.type != "proc-macro" and crate.owner.workspace_name.endswith("~" + _CRATES)]

def _bill_of_materials_impl(ctx):
    output = ctx.actions.declare_file(ctx.label.name + ".cdx.json")
    spec = ctx.actions.declare_file(ctx.label.name + ".spec.json")
    descriptions = [layer.description for layer in ctx.attr.image[ImageInfo].layers] if ctx.attr.image else []
    ctx.actions.write(spec, json.encode_indent(struct(
        kind = "container" if ctx.attr.image else "library",
        name = ctx.attr.subject,
        version = ctx.attr.version,
        wheels = ctx.attr.wheels,
        debian = ctx.attr.debian,
        layers = [file.path for file in descriptions],
        go_packages = _go_packages(ctx.attr.programs),
        crates = _crates(ctx.attr.programs),
        debian_packages = ctx.file._debian_packages.path,
        debian_lock = ctx.file._debian_lock.path,
        wheel_locks = [file.path for file in ctx.files._wheel_locks],
        go_mod = ctx.file._go_mod.path,
        go_toolchain_lock = ctx.file._go_toolchain_lock.path,
        cargo_lock = ctx.file._cargo_lock.path,
    )))
    locks = [ctx.file._debian_packages, ctx.file._debian_lock, ctx.file._go_mod, ctx.file._go_toolchain_lock, ctx.file._cargo_lock] + ctx.files._wheel_locks
    ctx.actions.run(
        executable = ctx.executable._tool,
        arguments = [spec.path, output.path],
        inputs = [spec] + descriptions + locks,
        outputs = [output],
        mnemonic = "BillOfMaterials",
        progress_message = "Listing what is in %{label}",
    )
    return [DefaultInfo(files = depset([output]))]

bill_of_materials = rule(
    doc = "A bill of materials in CycloneDX's format: every package of Debian, wheel, Go module and crate that an image or a wheel of ours has a part of.",
    implementation = _bill_of_materials_impl,
    attrs = {
        "image": attr.label(doc = "The image, if it is one.", providers = [ImageInfo]),
        "subject": attr.string(doc = "What the image or wheel is called.", mandatory = True),
        "version": attr.string(doc = "Of the image or wheel.", mandatory = True),
        "programs": attr.label_list(doc = "Go and Rust programs and libraries in it, whose parts are linked into them."),
        "wheels": attr.string_list(doc = "Locked wheels that it has a part of, beside those whose metadata the image has."),
        "debian": attr.string_list(doc = "Locked packages of Debian that it has a part of, beside those whose files the image has."),
        "_cargo_lock": attr.label(default = "//third_party/rust:Cargo.lock", allow_single_file = True),
        "_debian_lock": attr.label(default = "//third_party/debian:debian.lock.json", allow_single_file = True),
        "_debian_packages": attr.label(default = "@debian_python//:packages.json", allow_single_file = True),
        "_go_mod": attr.label(default = "//:go.mod", allow_single_file = True),
        "_go_toolchain_lock": attr.label(default = "//third_party/python:go.lock", allow_single_file = True),
        "_tool": attr.label(default = "//tools/images/sbom", executable = True, cfg = "exec"),
        "_wheel_locks": attr.label_list(default = ["//third_party/python:{}.lock".format(name) for name in ["datasets", "packages", "zig"]], allow_files = True),
    },
)
