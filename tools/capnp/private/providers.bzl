"""What the rules hand to each other."""

CapnpInfo = provider(
    doc = "A compiled schema library. Filled by `capnp_library`, read by the binding rules.",
    fields = {
        "sources": "list of File: the schemas of this library itself.",
        "source_prefix": "string: folder of the sources from the workspace's root; it is taken off file names before plugins see them.",
        "request": "File: the compiler's CodeGeneratorRequest for `sources`, which every binding's plugin reads.",
        "transitive_sources": "depset of File: the schemas of this library and of all that it imports.",
        "import_paths": "depset of string: folders, from the workspace's root, in which absolute imports (`import \"/x.capnp\"`) are looked up.",
    },
)
