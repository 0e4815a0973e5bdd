"""How Bazel's C++ rules call zig."""

load("@bazel_tools//tools/build_defs/cc:action_names.bzl", "ACTION_NAMES")
load("@bazel_tools//tools/cpp:cc_toolchain_config_lib.bzl", "feature", "flag_group", "flag_set", "tool_path")

_COMPILE = [
    ACTION_NAMES.assemble,
    ACTION_NAMES.c_compile,
    ACTION_NAMES.cpp_compile,
    ACTION_NAMES.cpp_header_parsing,
    ACTION_NAMES.preprocess_assemble,
]

# Tools that zig does not have; an action that needs one fails by name.
_ABSENT = ["dwp", "gcov", "nm", "objcopy", "objdump", "strip"]

def _zig_cc_toolchain_config_impl(ctx):
    tools = {"ar": "bin/ar", "cpp": "bin/cc", "gcc": "bin/cc", "ld": "bin/cc"}
    return cc_common.create_cc_toolchain_config_info(
        ctx = ctx,
        toolchain_identifier = "zig-x86_64-linux-gnu",
        host_system_name = "x86_64-linux-gnu",
        target_system_name = "x86_64-linux-gnu",
        target_cpu = "k8",
        target_libc = "glibc_2.28",
        compiler = "clang",
        abi_version = "gnu",
        abi_libc_version = "glibc_2.28",
        tool_paths = [tool_path(name = name, path = path) for name, path in tools.items()] +
                     [tool_path(name = name, path = "bin/absent-" + name) for name in _ABSENT],
        cxx_builtin_include_directories = ["%workspace%/" + ctx.file.lib.path, "/"],
        features = [
            # No time of build in any object.
            feature(name = "deterministic", enabled = True, flag_sets = [flag_set(
                actions = _COMPILE,
                flag_groups = [flag_group(flags = [
                    "-no-canonical-prefixes",
                    "-Wno-builtin-macro-redefined",
                    "-D__DATE__=\"redacted\"",
                    "-D__TIME__=\"redacted\"",
                    "-D__TIMESTAMP__=\"redacted\"",
                ])],
            )]),
            feature(name = "supports_pic", enabled = True),
            feature(name = "supports_dynamic_linker", enabled = True),
        ],
    )

zig_cc_toolchain_config = rule(
    doc = "The configuration of the zig toolchain.",
    implementation = _zig_cc_toolchain_config_impl,
    attrs = {"lib": attr.label(doc = "zig's lib folder with all headers.", allow_single_file = True, mandatory = True)},
    provides = [CcToolchainConfigInfo],
)
