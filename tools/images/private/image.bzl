"""`image`: layers and settings, as a folder in the OCI's layout."""

load(":providers.bzl", "ImageInfo", "LayerInfo")

_SECOND = 1000 * 1000 * 1000

def _health(command):
    """The health check in Docker's words: every 5 s, dead after three that fail, not counted in the first 60 s."""
    return {"Test": ["CMD"] + command, "Interval": 5 * _SECOND, "Timeout": 5 * _SECOND, "StartPeriod": 60 * _SECOND, "Retries": 3}

def _image_impl(ctx):
    layers = [target[LayerInfo] for target in ctx.attr.layers]
    layout = ctx.actions.declare_directory(ctx.label.name)
    spec = ctx.actions.declare_file(ctx.label.name + ".spec.json")
    config = {
        "Entrypoint": ctx.attr.entrypoint,
        "Cmd": ctx.attr.cmd,
        "Env": ["{}={}".format(name, value) for name, value in sorted(ctx.attr.env.items())],
        "ExposedPorts": {"{}/tcp".format(port): {} for port in ctx.attr.ports},
        "Volumes": {path: {} for path in ctx.attr.volumes},
        "Labels": ctx.attr.labels,
        "User": ctx.attr.user,
        "WorkingDir": ctx.attr.workdir,
    }
    if ctx.attr.health:
        config["Healthcheck"] = _health(ctx.attr.health)
    ctx.actions.write(spec, json.encode_indent(struct(
        layers = [struct(blob = info.blob.path, description = info.description.path) for info in layers],
        config = config,
        reference = ctx.attr.reference,
    )))
    arguments = ctx.actions.args()
    arguments.add("image")
    arguments.add(spec)
    arguments.add(layout.path)
    ctx.actions.run(
        executable = ctx.executable._assemble,
        arguments = [arguments],
        inputs = [spec] + [info.blob for info in layers] + [info.description for info in layers],
        outputs = [layout],
        mnemonic = "Image",
        progress_message = "Putting together image %{label}",
    )
    return [
        DefaultInfo(files = depset([layout]), runfiles = ctx.runfiles(files = [layout])),
        ImageInfo(layout = layout, layers = layers),
    ]

image = rule(
    doc = "An image for linux/amd64. The same inputs give the same digest.",
    implementation = _image_impl,
    attrs = {
        "layers": attr.label_list(doc = "The lowest first, and what changes least.", providers = [LayerInfo], mandatory = True),
        "reference": attr.string(doc = "Name and tag that engines give it, such as localhost/pangea/x:latest.", mandatory = True),
        "entrypoint": attr.string_list(doc = "The program, with arguments that always hold. Never a shell.", mandatory = True),
        "cmd": attr.string_list(doc = "Arguments that a user may replace."),
        "env": attr.string_dict(doc = "Environment."),
        "ports": attr.int_list(doc = "TCP ports on which it listens."),
        "volumes": attr.string_list(doc = "Folders whose content outlives a container."),
        "health": attr.string_list(doc = "Command that exits with 0 if the service is well."),
        "labels": attr.string_dict(doc = "Labels."),
        "user": attr.string(doc = "UID:GID that it runs as.", default = "65532:65532"),
        "workdir": attr.string(doc = "Folder in which it starts.", default = "/"),
        "_assemble": attr.label(default = "//tools/images/assemble", executable = True, cfg = "exec"),
    },
    provides = [ImageInfo],
)
