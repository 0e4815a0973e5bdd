"""Where repository rules keep what the package clients fetched.

Every fetched file (.deb, .whl, .crate) lies under its own name in one folder of the user's cache, `$PANGEA_DIST_DIR` (set by `bazelw`), so that
`bazel clean --expunge` and a second clone fetch nothing again. Files are taken from there by hash only.
"""

def dist_dir(ctx):
    """The folder of fetched files; without `bazelw`, a folder inside the repository being made.

    Args:
        ctx: the repository context.
    Returns:
        its path as a string; the folder exists.
    """
    folder = ctx.os.environ.get("PANGEA_DIST_DIR", "") or str(ctx.path("_dist"))
    run(ctx, ["mkdir", "-p", folder], "make the folder of fetched files")
    return folder

def run(ctx, command, purpose, environment = {}, timeout = 1800, working_directory = ""):
    """Runs a program; fails the repository with what it printed if it fails.

    Args:
        ctx: the repository context.
        command: program and arguments.
        purpose: a verb phrase for the error.
        environment: variables added to the environment.
        timeout: seconds.
        working_directory: where it runs, relative to the repository.
    Returns:
        what it printed on stdout.
    """
    result = ctx.execute(command, environment = environment, timeout = timeout, working_directory = working_directory)
    if result.return_code != 0:
        fail("{}: could not {}: `{}` exited with {}:\n{}\n{}".format(
            ctx.name,
            purpose,
            " ".join([str(part) for part in command[:6]]),
            result.return_code,
            result.stdout[-2000:],
            result.stderr[-4000:],
        ))
    return result.stdout

def verified_path(ctx, folder, file, sha256, extension = ""):
    """Checks a fetched file against the lock (and puts it into Bazel's repository cache, which serves it when the folder is gone).

    Args:
        ctx: the repository context.
        folder: of fetched files.
        file: name in it.
        sha256: of the lock.
        extension: added to the name of the copy, for tools that go by it.
    Returns:
        the path of a verified copy inside the repository; the caller deletes it when it is unpacked.
    """
    output = ctx.path("_verified/" + file + extension)
    ctx.download(url = "file://{}/{}".format(folder, file).replace("%", "%25"), output = output, sha256 = sha256)
    return output

def is_fetched(ctx, folder, file):
    """Whether the file is in the folder of fetched files."""
    return ctx.path(folder + "/" + file).exists

def keep(ctx, staging, folder):
    """Moves complete files from a staging folder into the folder of fetched files, each in one atomic step."""
    run(ctx, ["sh", "-c", 'for f in "$1"/*; do [ -f "$f" ] || continue; mv -f "$f" "$2/.${f##*/}.$$" && mv -f "$2/.${f##*/}.$$" "$2/${f##*/}"; done', "keep", staging, folder], "keep the fetched files")
