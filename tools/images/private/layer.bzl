"""`layer`: files, as one layer of images."""

load(":providers.bzl", "LayerInfo")

def _place(file, package, destination):
    """Where one of several files of a label of this workspace lies: at its path below the label's package."""
    return destination + "/" + file.short_path.removeprefix(package + "/")

def _sources(attribute):
    """Turns a dict of target to destination into the tool's list of sources."""
    sources = []
    for target, destination in attribute.items():
        files = target[DefaultInfo].files.to_list()
        if not files:
            fail("{} has no files for {}; name what makes some".format(target.label, destination))
        if len(files) == 1:
            sources.append(struct(source = files[0].path, path = destination))
        else:
            sources.extend([struct(source = file.path, path = _place(file, target.label.package, destination)) for file in files])
    return sources

def _folder(path, description):
    """Reads `MODE` or `MODE OWNER`."""
    words = description.split(" ")
    if len(words) > 2:
        fail("{}: {} is neither `MODE` nor `MODE OWNER`".format(path, repr(description)))
    return struct(path = path, mode = int(words[0], 8), owner = int(words[1]) if len(words) == 2 else 0)

def _layer_impl(ctx):
    blob = ctx.actions.declare_file(ctx.label.name + ".tar.gz")
    description = ctx.actions.declare_file(ctx.label.name + ".json")
    spec = ctx.actions.declare_file(ctx.label.name + ".spec.json")
    below = [target[LayerInfo].description for target in ctx.attr.below]
    ctx.actions.write(spec, json.encode_indent(struct(
        files = _sources(ctx.attr.files),
        texts = ctx.attr.texts,
        links = ctx.attr.links,
        folders = [_folder(path, text) for path, text in ctx.attr.folders.items()],
        libraries = _sources(ctx.attr.libraries),
        keep = ctx.attr.keep,
        leave = ctx.attr.leave,
        below = [file.path for file in below],
    )))
    arguments = ctx.actions.args()
    arguments.add("layer")
    arguments.add(ctx.attr.title)
    arguments.add(spec)
    arguments.add(blob)
    arguments.add(description)
    ctx.actions.run(
        executable = ctx.executable._assemble,
        arguments = [arguments],
        inputs = depset([spec] + below + ctx.files.files + ctx.files.libraries),
        outputs = [blob, description],
        mnemonic = "ImageLayer",
        progress_message = "Packing image layer %{label}",
    )
    return [
        DefaultInfo(files = depset([blob])),
        LayerInfo(blob = blob, description = description),
        OutputGroupInfo(description = depset([description])),
    ]

layer = rule(
    doc = """One layer: what changes together should be in one, and nothing else.

Owners are root unless `folders` says otherwise, times are zero, and a file may be started if it is a program by its content. All paths are absolute.
""",
    implementation = _layer_impl,
    attrs = {
        "title": attr.string(doc = "What the layer is for; part of the image's history.", mandatory = True),
        "files": attr.label_keyed_string_dict(
            doc = "Target -> path. A single file or folder gets this path; several files lie below it as they lie below their package.",
            allow_files = True,
        ),
        "texts": attr.string_dict(doc = "Path -> content, for small files."),
        "links": attr.string_dict(doc = "Path -> target of a symbolic link."),
        "folders": attr.string_dict(doc = "Path -> `MODE` in octal digits, or `MODE OWNER`."),
        "libraries": attr.label_keyed_string_dict(
            doc = "Folder of shared libraries, or one of them -> its path. What programs of this layer need, and what that needs in turn, is added from the first that has it.",
            allow_files = True,
        ),
        "keep": attr.string_list(doc = "Patterns; if there are any, only what they match is taken from `files`. `*` stands for anything in one segment, and a folder for all in it."),
        "leave": attr.string_list(doc = "Patterns of what is not taken from `files`."),
        "below": attr.label_list(doc = "Layers that lie below in every image: their libraries are not taken again.", providers = [LayerInfo]),
        "_assemble": attr.label(default = "//tools/images/assemble", executable = True, cfg = "exec"),
    },
    provides = [LayerInfo],
)
