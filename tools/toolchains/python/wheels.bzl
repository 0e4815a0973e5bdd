"""`python_wheels`: a repository with the files of locked Python wheels, fetched by pip."""

load("//tools/toolchains:fetch.bzl", "dist_dir", "is_fetched", "keep", "run", "verified_path")

def _parse_lock(ctx):
    """Reads `name==version --hash=sha256:...` lines; returns [(requirement line, sha256)]."""
    wheels = []
    for line in ctx.read(ctx.attr.lock).split("\n"):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        parts = line.split(" --hash=sha256:")
        if len(parts) != 2:
            fail("{}: {} holds the line `{}`; wanted `name==version --hash=sha256:HASH`. Run ./bazelw run //:update_locks".format(ctx.name, ctx.attr.lock, line))
        wheels.append((line, parts[1].strip()))
    return wheels

def _python_wheels_impl(ctx):
    wheels = _parse_lock(ctx)
    folder = dist_dir(ctx)
    missing = [line for line, sha256 in wheels if not is_fetched(ctx, folder, sha256 + ".whl")]
    if missing:
        ctx.report_progress("pip download of {} wheels".format(len(missing)))
        python = ctx.path(ctx.attr._python)
        run(ctx, ["mkdir", "-p", "_staging"], "make a staging folder")
        ctx.file("_missing.txt", "\n".join(missing) + "\n")
        pip = run(ctx, ["sh", "-c", "ls \"$1\"/usr/share/python-wheels/pip-*.whl", "find", str(python.dirname.dirname)], "find pip").strip()
        run(
            ctx,
            [python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--dest", "_staging", "-r", "_missing.txt"],
            "download wheels",
            environment = {"PYTHONPATH": pip},
        )

        # Named by hash: a lock line has no file name.
        run(ctx, ["sh", "-c", 'cd _staging && for f in *.whl; do s=$(sha256sum "$f") && mv "$f" "${s%% *}.whl" || exit 1; done'], "name the wheels by hash")
        keep(ctx, "_staging", folder)
        ctx.delete("_missing.txt")
        ctx.delete("_staging")
    for line, sha256 in wheels:
        ctx.report_progress("unpacking " + line.split(" ")[0])
        wheel = verified_path(ctx, folder, sha256 + ".whl", sha256, extension = ".zip")
        ctx.extract(wheel, output = ctx.attr.root)
        ctx.delete(wheel)
    ctx.delete("_verified")
    for source, destination in ctx.attr.extra_files.items():
        ctx.template(destination, source)
    if ctx.attr.byte_compile:
        # As pip does at installation. Unchecked: the tree never changes, and its times mean
        # nothing.
        run(ctx, [ctx.path(ctx.attr._python), "-m", "compileall", "-q", "-j", "2", "--invalidation-mode", "unchecked-hash", ctx.attr.root], "compile the wheels")
    for command in ctx.attr.commands:
        run(ctx, ["sh", "-c", command], "finish the repository")
    ctx.file("BUILD.bazel", ctx.read(ctx.attr.build_file))

python_wheels = repository_rule(
    doc = "All wheels of one lock, unpacked into one tree.",
    implementation = _python_wheels_impl,
    environ = ["PANGEA_DIST_DIR"],
    attrs = {
        "lock": attr.label(doc = "Requirements file with one hash a line.", mandatory = True),
        "root": attr.string(doc = "Folder that the wheels are unpacked into, one on top of the other as pip does."),
        "byte_compile": attr.bool(doc = "Whether to compile the Python files."),
        "commands": attr.string_list(doc = "Shell commands that finish the tree, run in its root."),
        "extra_files": attr.label_keyed_string_dict(doc = "Our file -> place in the tree.", allow_files = True),
        "build_file": attr.label(doc = "BUILD file of the repository.", mandatory = True),
        "_python": attr.label(default = "@debian_python//:bin/python3"),
    },
)
