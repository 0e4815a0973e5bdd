"""What each rule promises to other rules, checked in the analysis phase."""

load("@bazel_skylib//lib:unittest.bzl", "analysistest", "asserts")
load("//tools/capnp:defs.bzl", "CapnpInfo", "capnp_library")

def _mnemonics(env):
    return [action.mnemonic for action in analysistest.target_actions(env)]

def _library_impl(ctx):
    env = analysistest.begin(ctx)
    info = analysistest.target_under_test(env)[CapnpInfo]
    asserts.equals(env, ["shape.capnp"], [file.basename for file in info.sources])
    asserts.equals(env, "tools/capnp/tests/shapes", info.source_prefix)
    asserts.equals(env, ["colour.capnp", "go.capnp", "shape.capnp"], sorted([file.basename for file in info.transitive_sources.to_list()]))
    asserts.true(env, "." in info.import_paths.to_list(), "absolute imports start at the workspace's root")
    asserts.equals(env, [info.request], analysistest.target_under_test(env)[DefaultInfo].files.to_list())
    asserts.equals(env, ["CapnpCompile"], _mnemonics(env))
    return analysistest.end(env)

_library_test = analysistest.make(_library_impl)

def _bindings_impl(ctx):
    env = analysistest.begin(ctx)
    files = analysistest.target_under_test(env)[DefaultInfo].files.to_list()
    asserts.equals(env, ctx.attr.files, sorted([file.basename for file in files]))
    asserts.true(env, ctx.attr.mnemonic in _mnemonics(env), "{} is not among {}".format(ctx.attr.mnemonic, _mnemonics(env)))
    return analysistest.end(env)

_bindings_test = analysistest.make(
    _bindings_impl,
    attrs = {
        "files": attr.string_list(doc = "Names of the generated files, sorted."),
        "mnemonic": attr.string(doc = "Of the action that makes them."),
    },
)

def _refused_impl(ctx):
    env = analysistest.begin(ctx)
    asserts.expect_failure(env, ctx.attr.reason)
    return analysistest.end(env)

_refused_test = analysistest.make(
    _refused_impl,
    expect_failure = True,
    attrs = {"reason": attr.string(doc = "Part of the error.")},
)

def rules_test_suite(name):
    """All analysis tests of the rules. For the package of the shapes, whose generated sources are private.

    Args:
        name: of the suite.
    """
    tests = {
        "library": lambda test: _library_test(name = test, target_under_test = ":shape_capnp"),
        "go": lambda test: _bindings_test(name = test, target_under_test = ":shape_go_capnp_sources", files = ["shape.capnp.go"], mnemonic = "CapnpGo"),
        "rust": lambda test: _bindings_test(name = test, target_under_test = ":shape_rust_capnp_sources", files = ["lib.rs", "shape_capnp.rs"], mnemonic = "CapnpRust"),
        "python": lambda test: _bindings_test(name = test, target_under_test = ":shape_py_capnp_sources", files = ["shape_capnp.py"], mnemonic = "CapnpPython"),
        "constants": lambda test: _bindings_test(name = test, target_under_test = ":shape_constants_py", files = ["shape_constants.py"], mnemonic = "CapnpConstants"),
        "wrong_suffix": lambda test: _refused_test(name = test, target_under_test = ":wrong_suffix", reason = "a capnp_library takes .capnp files"),
    }

    # Only analysed, by the test of its refusal.
    capnp_library(
        name = "wrong_suffix",
        srcs = ["shape_test.py"],
        tags = ["manual"],
    )
    for test, make in tests.items():
        make("{}_{}_test".format(name, test))
    native.test_suite(
        name = name,
        tests = [":{}_{}_test".format(name, test) for test in tests],
    )
