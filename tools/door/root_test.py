"""What of the caller's environment reaches Bazel."""

import pytest

from tools.door.root import PASSED


@pytest.mark.parametrize(
    "name",
    [
        "HOME",
        "TERM",
        "https_proxy",
        "HTTP_PROXY",
        "GOPROXY",
        "PIP_INDEX_URL",
        "CARGO_HTTP_CAINFO",
        "SSL_CERT_FILE",
        "PANGEA_BAZEL",
    ],
)
def test_who_and_where_and_mirrors_are_passed_on(name: str) -> None:
    assert PASSED.fullmatch(name)


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "CC",
        "CFLAGS",
        "PYTHONPATH",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "RUSTFLAGS",
        "GOFLAGS",
        "GOROOT",
        "JAVA_HOME",
        "JAVA_TOOL_OPTIONS",
    ],
)
def test_what_changes_a_compiler_is_not(name: str) -> None:
    assert not PASSED.fullmatch(name)
