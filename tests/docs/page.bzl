"""`page_test`: the commands of one page of docs, run with the real programs."""

load("//tools/python:defs.bzl", "pytest_test")

# What pages call, by the label after `./bazelw run`.
PROGRAMS = {
    "//:pangea": "//services/python-ai-client:cli",
    "//services/go-orchestrator": "//services/go-orchestrator",
    "//services/rust-compute": "//services/rust-compute",
}

def _is_label(word):
    return word.startswith(("//", "@"))

def _command_lines(commands):
    """Name -> command line as JSON, in which files of the test begin with `./`."""
    return json.encode({
        name: " ".join(["./$(rootpath {})".format(word) if _is_label(word) else word for word in words])
        for name, words in commands.items()
    })

def page_test(name, page, programs = {}, tools = {}, built = [], files = [], **kwargs):
    """Follows a page in a folder that looks like a clone.

    Args:
        name: of the test.
        page: below docs.
        programs: label -> command line as words, of which labels are files: what `./bazelw run` starts beside PROGRAMS, with the arguments that the target has.
        tools: name -> command line, likewise: what a reader has on PATH, and a sandbox has not.
        built: labels that `./bazelw build` takes beside the programs; what they make is in bazel-bin.
        files: labels of sources that are in the clone.
        **kwargs: further attributes of the test.
    """
    programs = {label: [program] for label, program in PROGRAMS.items()} | programs
    words = [word for command in programs.values() + tools.values() for word in command]
    pytest_test(
        name = name,
        size = "medium",
        srcs = ["commands_test.py"],
        data = depset(["//docs:" + page] + built + files + [word for word in words if _is_label(word)]).to_list(),
        env = {
            "BUILT": json.encode({label: "$(rootpaths {})".format(label) for label in built}),
            "FILES": " ".join(["$(rootpaths {})".format(label) for label in files]),
            "PAGE": "docs/" + page,
            "PROGRAMS": _command_lines(programs),
            "TOOLS": _command_lines(tools),
        },
        deps = [":console"],
        **kwargs
    )
