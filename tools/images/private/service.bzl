"""`service_image`: the targets that every service has."""

load(":deliver.bzl", "image_load", "image_push")
load(":image.bzl", "image")
load(":sbom.bzl", "bill_of_materials")

_PROJECT = "pangea"

def service_image(name, description, layers, entrypoint, programs = [], labels = {}, visibility = None, **kwargs):
    """Makes NAME_image, NAME_load, NAME_push and NAME_sbom for the service NAME.

    Args:
        name: of the service; the image is localhost/pangea/NAME:latest.
        description: one line, for the image's label.
        layers: of the image, the lowest first.
        entrypoint: the program and arguments that always hold.
        programs: what of the image is linked from Go modules or crates, for the bill of materials.
        labels: more labels than the usual ones.
        visibility: of these targets.
        **kwargs: other attributes of `image`.
    """
    image(
        name = name + "_image",
        entrypoint = entrypoint,
        labels = {
            "org.opencontainers.image.description": description,
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.title": name,
            "org.opencontainers.image.version": native.module_version(),
        } | labels,
        layers = layers,
        # localhost: podman puts it before a name without a registry, docker does not, and the
        # compose file has one name for both.
        reference = "localhost/{}/{}:latest".format(_PROJECT, name),
        visibility = visibility,
        **kwargs
    )
    image_load(
        name = name + "_load",
        image = ":" + name + "_image",
        visibility = visibility,
    )
    image_push(
        name = name + "_push",
        image = ":" + name + "_image",
        visibility = visibility,
    )
    bill_of_materials(
        name = name + "_sbom",
        image = ":" + name + "_image",
        subject = "{}/{}".format(_PROJECT, name),
        programs = programs,
        version = native.module_version(),
        visibility = visibility,
    )
