"""`debian_packages`: a repository with the files of locked Debian packages, fetched by apt-get."""

load("//tools/toolchains:fetch.bzl", "dist_dir", "is_fetched", "keep", "run", "verified_path")

def _deb(name, package):
    return "{}_{}_{}.deb".format(name, package["version"].replace(":", "%3a"), package["architecture"])

def _apt(ctx):
    """Environment that points the apt tools at the private configuration that bazelw made."""
    folder = ctx.os.environ.get("PANGEA_APT_DIR", "")
    if not folder:
        fail("{}: PANGEA_APT_DIR is not set; start Bazel through ./bazelw, which makes a private apt configuration for it".format(ctx.name))
    return {"APT_CONFIG": folder + "/apt.conf"}

def _download(ctx, specs):
    """Downloads packages into the staging folder; returns whether apt-get got all of them."""
    return ctx.execute(
        ["apt-get", "-qq", "download"] + specs,
        environment = _apt(ctx),
        working_directory = "_staging",
        timeout = 1800,
    )

def _fetch(ctx, packages, folder):
    """Fetches what is missing. A package whose locked version has left the mirror is replaced by the suite's current signed one.

    Returns:
        dict of package name to file name, for the packages that drifted.
    """
    missing = [name for name, package in packages.items() if not is_fetched(ctx, folder, _deb(name, package))]
    if not missing:
        return {}
    ctx.report_progress("apt-get download of {} packages".format(len(missing)))
    run(ctx, ["mkdir", "-p", "_staging"], "make a staging folder")
    drifted = {}
    if _download(ctx, ["{}={}".format(name, packages[name]["version"]) for name in missing]).return_code != 0:
        run(ctx, ["apt-get", "-qq", "update"], "refresh the package index", environment = _apt(ctx))
        for name in missing:
            if _download(ctx, ["{}={}".format(name, packages[name]["version"])]).return_code == 0:
                continue
            if ctx.os.environ.get("PANGEA_STRICT_LOCKS", "") == "1":
                fail("{}: {} {} is no longer on the mirror, and locks are strict; run ./bazelw run //:update_locks".format(ctx.name, name, packages[name]["version"]))
            current = _download(ctx, [name])
            if current.return_code != 0:
                fail("{}: apt-get cannot download {}: {}".format(ctx.name, name, current.stderr))
            drifted[name] = run(ctx, ["sh", "-c", "ls _staging | grep -F '{}_'".format(name)], "find the current " + name).strip()
    keep(ctx, "_staging", folder)
    if drifted:
        # buildifier: disable=print
        print("{}: the mirror no longer has the locked version of {}; taking the suite's current signed one. ./bazelw run //:update_locks refreshes the lock.".format(ctx.name, ", ".join(sorted(drifted))))
    return drifted

def _write_launchers(ctx):
    for name, program in ctx.attr.launchers.items():
        ctx.template(
            "bin/" + name,
            ctx.attr._launcher,
            substitutions = {
                "{program}": program,
                "{exports}": 'export PANGEA_PYTHON="$self"\n' if "python" in program else "",
            },
            executable = True,
        )

def _debian_packages_impl(ctx):
    lock = json.decode(ctx.read(ctx.attr.lock))
    packages = {name: lock["packages"][name] for name in lock["groups"][ctx.attr.group]}
    folder = dist_dir(ctx)
    drifted = _fetch(ctx, packages, folder)
    origins = {}
    for name, package in packages.items():
        ctx.report_progress("unpacking " + name)
        if name in drifted:
            deb = folder + "/" + drifted[name]
            origin = {"version": drifted[name].split("_")[1].replace("%3a", ":"), "sha256": None}
        else:
            deb = str(verified_path(ctx, folder, _deb(name, package), package["sha256"]))
            origin = {"version": package["version"], "sha256": package["sha256"]}
        listing = run(ctx, ["dpkg-deb", "-X", deb, "."], "unpack " + name)
        origins[name] = origin | {"files": [line.removeprefix(".") for line in listing.split("\n") if line and not line.endswith("/")]}
    ctx.delete("_verified")
    ctx.delete("_staging")
    run(ctx, ["sh", "-c", "rm -rf usr/share/doc usr/share/man usr/share/locale usr/share/lintian usr/include usr/lib/x86_64-linux-gnu/gconv etc var " + " ".join(ctx.attr.prune)], "remove what no build needs")

    # A link that leads nowhere or out of the tree makes every action on the folder fail once a
    # cache hashes it.
    run(ctx, ["sh", "-c", "find . -type l \\( -lname '/*' -o ! -exec test -e {} \\; \\) -delete"], "remove dangling links")
    _write_launchers(ctx)

    # Which package each file came from, for bills of materials.
    ctx.file("packages.json", json.encode(origins))
    for source, destination in ctx.attr.extra_files.items():
        ctx.template(destination, source)
    for command in ctx.attr.commands:
        run(ctx, ["sh", "-c", command], "finish the repository")
    ctx.file("BUILD.bazel", ctx.read(ctx.attr.build_file))

debian_packages = repository_rule(
    doc = "The files of one group of third_party/debian/debian.lock.json, unpacked, with launchers that start its programs under their own loader.",
    implementation = _debian_packages_impl,
    attrs = {
        "group": attr.string(doc = "The group of packages in the lock.", mandatory = True),
        "lock": attr.label(doc = "The lock.", default = "//third_party/debian:debian.lock.json"),
        "launchers": attr.string_dict(doc = "Name under bin/ -> program, relative to the root."),
        "prune": attr.string_list(doc = "Shell patterns of what is removed after unpacking."),
        "extra_files": attr.label_keyed_string_dict(doc = "Our file -> place in the tree.", allow_files = True),
        "commands": attr.string_list(doc = "Shell commands that finish the tree, run in its root."),
        "build_file": attr.label(doc = "BUILD file of the repository.", mandatory = True),
        "_launcher": attr.label(default = "//tools/toolchains/debian:launcher.sh.tpl"),
    },
    environ = ["PANGEA_APT_DIR", "PANGEA_DIST_DIR", "PANGEA_STRICT_LOCKS"],
)
