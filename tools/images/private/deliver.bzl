"""`image_load` and `image_push`: an image, handed to an engine or a registry by `./bazelw run`."""

load(":providers.bzl", "ImageInfo")

def _deliver_impl(ctx):
    program = ctx.actions.declare_file(ctx.label.name)
    ctx.actions.symlink(output = program, target_file = ctx.executable._deliver, is_executable = True)
    return [DefaultInfo(
        executable = program,
        runfiles = ctx.runfiles(files = [target[ImageInfo].layout for target in ctx.attr.data]).merge(ctx.attr._deliver[DefaultInfo].default_runfiles),
    )]

_deliver = rule(
    doc = "The program that delivers an image. Used through `image_load` and `image_push`, which also give it its first arguments.",
    implementation = _deliver_impl,
    executable = True,
    attrs = {
        # Called so because Bazel expands locations in `args` for this name only.
        "data": attr.label_list(doc = "The image.", providers = [ImageInfo], mandatory = True),
        "_deliver": attr.label(default = "//tools/images/deliver", executable = True, cfg = "target"),
    },
)

def image_load(name, image, **kwargs):
    """`./bazelw run` hands the image to the podman or docker of this machine.

    Args:
        name: of the target.
        image: an `image`.
        **kwargs: such as visibility.
    """
    _deliver(name = name, data = [image], args = ["load", "$(rootpath {})".format(image)], **kwargs)

def image_push(name, image, **kwargs):
    """`./bazelw run TARGET -- REGISTRY/NAME:TAG` sends the image to a registry, as who `docker login` or `podman login` has left there.

    Args:
        name: of the target.
        image: an `image`.
        **kwargs: such as visibility.
    """
    _deliver(name = name, data = [image], args = ["push", "$(rootpath {})".format(image)], **kwargs)
