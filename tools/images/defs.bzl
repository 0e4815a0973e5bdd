"""Rules for container images.

    layer(name = "program_layer", title = "program", files = {":go-orchestrator": "/usr/bin/go-orchestrator"})
    service_image(name = "go-orchestrator", description = "...", layers = [":program_layer"], entrypoint = ["/usr/bin/go-orchestrator"])

    ./bazelw build //services/go-orchestrator:go-orchestrator_image                       # a folder in the OCI's layout
    ./bazelw run //services/go-orchestrator:go-orchestrator_load                          # into podman or docker
    ./bazelw run //services/go-orchestrator:go-orchestrator_push -- REGISTRY/NAME:TAG     # to a registry
"""

load("//tools/images/private:deliver.bzl", _image_load = "image_load", _image_push = "image_push")
load("//tools/images/private:image.bzl", _image = "image")
load("//tools/images/private:layer.bzl", _layer = "layer")
load("//tools/images/private:providers.bzl", _ImageInfo = "ImageInfo", _LayerInfo = "LayerInfo")
load("//tools/images/private:sbom.bzl", _bill_of_materials = "bill_of_materials")
load("//tools/images/private:service.bzl", _service_image = "service_image")

ImageInfo = _ImageInfo
LayerInfo = _LayerInfo
bill_of_materials = _bill_of_materials
image = _image
image_load = _image_load
image_push = _image_push
layer = _layer
service_image = _service_image
