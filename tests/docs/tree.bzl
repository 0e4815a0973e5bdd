"""`workspace_tree`: the workspace's own files as inputs, so that a sandboxed test can hold the documents against all of them."""

# Hidden folders hold what tools leave behind; this one is ours.
_HIDDEN_BUT_OURS = [".ci"]

# A BUILD file under its own name would make a package of its folder here.
_BUILD_FILES = ("BUILD", "BUILD.bazel")
_RENAMED = ".txt"

def _ignored(ctx, root):
    """Names of folders and files at the root that git ignores: results, not sources."""
    lines = ctx.read(root.get_child(".gitignore")).split("\n")
    return [line.strip("/") for line in lines if line.startswith("/")]

def _is_source(entry, ignored):
    name = entry.basename
    if name in ignored or name.startswith("bazel-"):
        return False
    if entry.is_dir:
        return name in _HIDDEN_BUT_OURS or not name.startswith(".")

    # In a work tree of git, .git is a file.
    return name != ".git"

def _files_below(folder):
    """All files below a folder; Starlark has no recursion."""
    files = []
    folders = [folder]
    for _ in range(1000000):
        if not folders:
            break
        for entry in folders.pop().readdir(watch = "yes"):
            if not entry.is_dir:
                files.append(entry)
            elif entry.basename != "__pycache__":
                folders.append(entry)
    return files

def _workspace_tree_impl(ctx):
    root = ctx.workspace_root
    ignored = _ignored(ctx, root)
    files = []
    for entry in root.readdir(watch = "yes"):
        if _is_source(entry, ignored):
            files += _files_below(entry) if entry.is_dir else [entry]
    prefix = len(str(root)) + 1
    paths = sorted([str(file)[prefix:] for file in files])
    for path in paths:
        ctx.symlink(root.get_child(path), "tree/" + path + (_RENAMED if path.endswith(_BUILD_FILES) else ""))
    ctx.file("paths.txt", "\n".join(paths) + "\n")
    ctx.file("BUILD.bazel", """
package(default_visibility = ["@@//tests/docs:__pkg__"])

exports_files(["paths.txt"])

filegroup(
    name = "tree",
    srcs = glob(["tree/**"]),
)
""")

workspace_tree = repository_rule(
    doc = """All files of the workspace below `tree/` (BUILD files with a further `.txt`), and their paths, sorted, in `paths.txt`.

    It is made anew when a file comes or goes, which takes well under a second; what is in the files is tracked by the links.""",
    implementation = _workspace_tree_impl,
    local = True,
)
