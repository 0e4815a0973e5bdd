"""What the rules hand to each other."""

LayerInfo = provider(
    doc = "One layer of an image. Filled by `layer`, read by `layer` (for what lies below) and `image`.",
    fields = {
        "blob": "File: the compressed archive.",
        "description": "File: JSON with its digests, sizes and paths; tools/images/layer/spec.go has the fields.",
    },
)

ImageInfo = provider(
    doc = "An image. Filled by `image`, read by the rules that deliver it.",
    fields = {
        "layout": "File: folder in the OCI's layout with the one image.",
        "layers": "list of LayerInfo, the lowest first.",
    },
)
