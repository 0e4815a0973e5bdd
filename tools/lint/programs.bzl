"""The programs that //tools/lint and //tools/lint:format run."""

LINTERS = [
    "--buildifier",
    "@com_github_bazelbuild_buildtools//buildifier",
    "--gofmt",
    "@go_wheel//:go/bin/gofmt",
    "--ruff",
    "@ruff",
    "--rustfmt",
    "@debian_rust//:bin/rustfmt",
    "--shellcheck",
    "//tools/toolchains/shellcheck",
]
