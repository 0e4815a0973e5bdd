"""The rule behind //tools/wheel:defs.bzl."""

def _place(file, package, folder):
    """Where a file of a label lies in the wheel: at its path below the label's package."""
    return "{}/{}".format(folder, file.short_path.removeprefix(package + "/"))

def _members(attribute, leave):
    members = {}
    for target, folder in attribute.items():
        for file in target[DefaultInfo].files.to_list():
            place = _place(file, target.label.package, folder)
            if members.get(place, file) != file:
                fail("{}: {} and {} have the same place in the wheel".format(place, members[place], file))
            members[place] = file
    for place in leave:
        if not members.pop(place, None):
            fail("{}: named by `leave`, but no file has this place".format(place))
    return members

def _python_wheel_impl(ctx):
    wheel = ctx.actions.declare_file("{}-{}-{}.whl".format(ctx.attr.distribution, ctx.attr.version, ctx.attr.tag))
    members = _members(ctx.attr.files, ctx.attr.leave)
    spec = ctx.actions.declare_file(ctx.label.name + ".spec.json")
    ctx.actions.write(spec, json.encode_indent(struct(
        project = ctx.file.project.path,
        version = ctx.attr.version,
        tag = ctx.attr.tag,
        members = {place: file.path for place, file in sorted(members.items())},
        programs = ctx.attr.programs,
        licenses = {file.basename: file.path for file in ctx.files.licenses},
        sboms = {file.basename: file.path for file in ctx.files.sboms},
        readme = ctx.file.readme.path,
    )))
    ctx.actions.run(
        executable = ctx.executable._pack,
        arguments = [spec.path, wheel.path],
        inputs = [spec, ctx.file.project, ctx.file.readme] + members.values() + ctx.files.licenses + ctx.files.sboms,
        outputs = [wheel],
        mnemonic = "PythonWheel",
        progress_message = "Packing wheel %{label}",
    )
    return [DefaultInfo(files = depset([wheel]), runfiles = ctx.runfiles(files = [wheel]))]

python_wheel = rule(
    doc = "A wheel whose bytes depend on nothing but its inputs: members are sorted, and have the earliest time that a zip file can have.",
    implementation = _python_wheel_impl,
    attrs = {
        "distribution": attr.string(doc = "Name of the distribution; the same as in `project`.", mandatory = True),
        "version": attr.string(doc = "Of the distribution.", mandatory = True),
        "tag": attr.string(doc = "Which interpreters and machines it is for: PYTHON-ABI-PLATFORM.", mandatory = True),
        "project": attr.label(doc = "A TOML file with the table `project` of a pyproject.toml, without the version.", allow_single_file = True, mandatory = True),
        "readme": attr.label(doc = "Markdown, the long description.", allow_single_file = True, mandatory = True),
        "files": attr.label_keyed_string_dict(
            doc = "Target -> folder in the wheel, below which its files lie as they lie below the target's package.",
            allow_files = True,
            mandatory = True,
        ),
        "leave": attr.string_list(doc = "Paths in the wheel of files that are not taken."),
        "programs": attr.string_list(doc = "Paths in the wheel of files that can be executed once they are installed."),
        "licenses": attr.label_list(doc = "Texts of licenses.", allow_files = True, mandatory = True),
        "sboms": attr.label_list(doc = "Bills of materials (PEP 770).", allow_files = True),
        "_pack": attr.label(default = "//tools/wheel/pack", executable = True, cfg = "exec"),
    },
)
