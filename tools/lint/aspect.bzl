"""`lint`: looks at the sources of each target as part of a build, each in a cached action of its own."""

# One command a linter; the files follow it. It is run in the root of the workspace, and says nothing if all is well.
_COMMANDS = {
    "gofmt": '"$tool" -l "$@"',
    "ruff": '"$tool" check --quiet --no-cache --config pyproject.toml "$@" && "$tool" format --quiet --no-cache --check --config pyproject.toml "$@"',
    "shellcheck": '"$tool" --severity=warning "$@"',
}
_SUFFIXES = {
    "gofmt": ["go"],
    "ruff": ["py", "pyi"],
    "shellcheck": ["sh"],
}

def _sources(rule):
    """Files of ours that a rule names as srcs; what is generated is nobody's to format."""
    return [file for file in getattr(rule.files, "srcs", []) if file.is_source and not file.owner.workspace_name]

def _lint_impl(target, ctx):
    stamps = []
    for linter, suffixes in _SUFFIXES.items():
        files = [file for file in _sources(ctx.rule) if file.extension in suffixes]
        if target.label.workspace_name or not files:
            continue
        stamp = ctx.actions.declare_file("{}.{}.ok".format(target.label.name, linter))
        tool = getattr(ctx.attr, "_" + linter)[DefaultInfo].files_to_run
        ctx.actions.run_shell(
            outputs = [stamp],
            inputs = files + ctx.files._settings,
            tools = [tool],
            arguments = [ctx.actions.args().add(stamp).add(tool.executable).add_all(files)],
            command = 'stamp=$1 tool=$2; shift 2; found=$({ %s; } 2>&1) && [ -z "$found" ] || { echo "$found"; echo "./bazelw run //:format fixes what can be fixed"; exit 1; }; : > "$stamp"' % _COMMANDS[linter],
            mnemonic = "Lint",
            progress_message = linter + " %{label}",
        )
        stamps.append(stamp)
    return [OutputGroupInfo(lint = depset(stamps))]

lint = aspect(
    doc = "Runs ruff, gofmt and shellcheck over the sources of a target; output group `lint`.",
    implementation = _lint_impl,
    attrs = {
        "_gofmt": attr.label(default = "@go_wheel//:go/bin/gofmt", cfg = "exec", executable = True, allow_single_file = True),
        "_ruff": attr.label(default = "@ruff", cfg = "exec", executable = True, allow_single_file = True),
        "_settings": attr.label(default = "//:pyproject.toml", allow_files = True),
        "_shellcheck": attr.label(default = "//tools/toolchains/shellcheck", cfg = "exec", executable = True),
    },
)
