"""Starts Bazel inside its root filesystem."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess

from .errors import DoorError
from .provision import Provision
from .truststore import PASSWORD, write_truststore

# Folders that are the system; all else of the machine (homes, data, scratch) is seen inside at its own place.
SYSTEM = {
    "bin",
    "boot",
    "dev",
    "etc",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "lost+found",
    "proc",
    "run",
    "sbin",
    "snap",
    "sys",
    "usr",
    "var",
    ".old",
}
# What of the caller's environment goes in: who and where, and how package clients reach their registries. Nothing that changes a compiler or an interpreter.
PASSED = re.compile(
    r"HOME|USER|LOGNAME|TERM|COLUMNS|LINES|LANG|LC_\w+|TZ|CI|NO_COLOR|(?i:https?_proxy|no_proxy|all_proxy)|GOPROXY|GOPRIVATE|GONOPROXY|PIP_\w+|CARGO_(HTTP|NET|REGISTR)\w+|"
    r"SSL_CERT_\w+|REQUESTS_CA_BUNDLE|NETRC|PANGEA_\w+|BAZEL_\w+"
)
CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def certificate_bundle() -> pathlib.Path | None:
    """The machine's certificate authorities."""
    named = [os.environ.get("SSL_CERT_FILE", ""), *CERTIFICATES]
    return next((pathlib.Path(file).resolve() for file in named if file and os.path.isfile(file)), None)


def write_rc(provision: Provision) -> pathlib.Path:
    """Writes the part of Bazel's configuration that depends on this machine; it is read before the workspace's .bazelrc."""
    cache = provision.cache
    rules = "/usr/share/bazel"
    debian = {
        "bazel_features": "tools/features",
        "bazel_skylib": "tools/skylib",
        "platforms": "tools/platforms",
        "rules_cc": "rules/cc",
        "rules_java": "rules/java",
        "rules_license": "rules/license",
        "rules_proto": "rules/proto",
        "rules_python": "rules/python",
        "rules_rust": "rules/rust",
        "rules_shell": "rules/shell",
    }
    trust: list[str] = []
    bundle = certificate_bundle()
    if bundle:
        write_truststore(bundle, cache / "truststore.jks")
        trust = [
            f"startup --host_jvm_args=-Djavax.net.ssl.trustStore={cache / 'truststore.jks'}",
            f"startup --host_jvm_args=-Djavax.net.ssl.trustStorePassword={PASSWORD}",
        ]
    lines = [
        "# Written by bazelw; changes are lost.",
        "startup --install_base=/usr/share/bazel --trust_install_base --server_javabase=/usr/lib/jvm/bazel",
        f"startup --output_user_root={cache / 'bazel'}",
        # Debian's Bazel does not find the library by itself, and --remote_cache_compression breaks off every transfer without it.
        "startup --host_jvm_args=-DZstdNativePath=/usr/lib/x86_64-linux-gnu/libzstd-jni.so.1",
        *trust,
        # Modules from Debian and the Go module proxy instead of the Central Registry, and stubs for names that are never used.
        *(f"common --override_module={name}={rules}/{place}" for name, place in debian.items()),
        *(f"common --override_module={name}={provision.modules / name}" for name in ("gazelle", "rules_go")),
        "common --registry=file://%workspace%/tools/registry",
        "common --check_direct_dependencies=off",
        "common --noenable_workspace",
        # What repository rules fetch, and what actions made, survives `bazel clean --expunge` and serves every clone.
        f"common --repository_cache={cache / 'repository'}",
        f"common --disk_cache={cache / 'disk'}",
        f"common --repo_env=PANGEA_DIST_DIR={provision.dist}",
        # Go modules too: gazelle's own cache lies in the output base, and a second clone without a network would have none.
        "common --repo_env=GO_REPOSITORY_USE_HOST_MODCACHE=1",
        f"common --repo_env=GOMODCACHE={provision.dist / 'go'}",
        f"common --repo_env=PANGEA_APT_DIR={provision.apt.folder}",
    ]
    text = "\n".join(lines) + "\n"
    file = cache / f"{provision.root.name}.{provision.modules.name}.bazelrc"
    if not file.exists() or file.read_text() != text:
        staging = file.with_suffix(f".{os.getpid()}")
        staging.write_text(text)
        staging.rename(file)
    return file


def environment(provision: Provision) -> dict[str, str]:
    """The environment inside."""
    kept = {name: value for name, value in os.environ.items() if PASSED.fullmatch(name)}
    return {
        **kept,
        "PATH": "/usr/bin:/bin",
        "HOME": os.path.expanduser("~"),
        "PANGEA_APT_DIR": str(provision.apt.folder),
    }


def enter_command(provision: Provision, inner: list[str], rc: pathlib.Path) -> list[str]:
    """The command that runs `inner` in the root, in the current folder."""
    root = provision.root
    library = root / "usr/lib/x86_64-linux-gnu"
    # The root's own bubblewrap under the root's own loader: works where the machine has neither, or an older C library.
    command = [str(library / "ld-linux-x86-64.so.2"), "--library-path", str(library), str(root / "usr/bin/bwrap")]
    if os.geteuid() != 0:
        command.append("--unshare-user")
    # All capabilities, and the machine's /proc: linux-sandbox makes namespaces and mounts of its own.
    command += [
        "--cap-add",
        "ALL",
        "--bind",
        str(root),
        "/",
        "--dev-bind",
        "/dev",
        "/dev",
        "--bind",
        "/proc",
        "/proc",
        "--ro-bind",
        "/sys",
        "/sys",
    ]
    for entry in sorted(pathlib.Path("/").iterdir()):
        if (
            entry.name not in SYSTEM
            and entry.is_dir()
            and not entry.is_symlink()
            and os.access(entry, os.R_OK | os.X_OK)
        ):
            command += ["--bind", str(entry), str(entry)]
    command += ["--bind", "/var/tmp", "/var/tmp"]
    for place in {str(provision.workspace), str(provision.cache), os.path.expanduser("~"), os.getcwd()}:
        if pathlib.Path(place).is_dir() and pathlib.Path(place).parts[1:2] and pathlib.Path(place).parts[1] in SYSTEM:
            command += ["--bind", place, place]
    for file in ("/etc/resolv.conf", "/etc/hosts", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/pip.conf"):
        if os.path.exists(file):
            command += ["--ro-bind", os.path.realpath(file), file]
    bundle = certificate_bundle()
    if bundle:
        command += ["--ro-bind", str(bundle), CERTIFICATES[0]]
    command += ["--ro-bind", str(rc), "/etc/bazel/bazelrc", "--clearenv"]
    for name, value in sorted(environment(provision).items()):
        command += ["--setenv", name, value]
    return [*command, "--chdir", os.getcwd(), "--", *inner]


def probe_sandbox(provision: Provision) -> str | None:
    """Why Bazel's linux-sandbox cannot work here; None if it works."""
    rc = write_rc(provision)
    inner = ["/usr/share/bazel/linux-sandbox", "-N", "--", "/bin/true"]
    result = subprocess.run(
        enter_command(provision, inner, rc), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return None if result.returncode == 0 else (result.stdout.strip().splitlines() or ["no message"])[-1]


def check_place(provision: Provision) -> None:
    """Refuses a workspace that the sandbox cannot see."""
    for place, what in ((provision.workspace, "the workspace"), (provision.cache, "the cache folder")):
        if pathlib.Path("/tmp") in (place, *place.parents):
            raise DoorError(
                f"{what} {place} lies under /tmp, which the sandbox of every action replaces by an empty one; move it (the cache with XDG_CACHE_HOME)"
            )


def bazel_command(provision: Provision, arguments: list[str]) -> list[str]:
    """The command that runs Bazel inside the root.

    Raises:
        DoorError: this machine refuses namespaces.
    """
    if os.geteuid() != 0 and not (provision.cache / "namespaces.ok").exists():
        # Asked once: a refusal deserves a sentence, not bubblewrap's.
        problem = probe_sandbox(provision)
        if problem:
            raise DoorError(
                f"this machine refuses user namespaces to ordinary users ({problem}); allow them (sysctl kernel.unprivileged_userns_clone=1, or the AppArmor restriction off), or run as root"
            )
        (provision.cache / "namespaces.ok").touch()
    return enter_command(provision, ["/usr/bin/bazel", *arguments], write_rc(provision))
