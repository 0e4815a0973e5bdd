"""Python rules of this workspace: rules_python's, and tests that are run by pytest."""

load("@rules_python//python:defs.bzl", _py_binary = "py_binary", _py_library = "py_library", _py_test = "py_test")

py_binary = _py_binary
py_library = _py_library

def pytest_test(name, srcs, deps = [], args = [], **kwargs):
    """A test target whose files are run by pytest.

    Args:
        name: of the test.
        srcs: test files; each is collected by pytest.
        deps: what the tests import, without pytest.
        args: further arguments of pytest.
        **kwargs: given to py_test.
    """
    _py_test(
        name = name,
        srcs = srcs + ["//tools/python:pytest_main.py"],
        main = "//tools/python:pytest_main.py",
        args = ["$(rootpath {})".format(src) for src in srcs] + args,
        deps = deps + ["//third_party/python:pytest"],
        **kwargs
    )
