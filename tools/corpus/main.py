"""Makes a training text from the sources of the interpreter that runs this program.

In a build that is the locked interpreter of the toolchain, whose files are inputs of every action that uses it.
"""

import argparse
import gzip
import sysconfig
from pathlib import Path


def sources(library: Path, packages: list[str]) -> list[Path]:
    """The Python files of these packages, ordered by their path below `library`.

    Raises:
        FileNotFoundError: naming the package that has none.
    """
    files: set[Path] = set()
    for package in packages:
        found = set((library / package).rglob("*.py"))
        if not found:
            raise FileNotFoundError(
                f"{library} has no package {package} with Python files; name packages of the standard library, such as asyncio"
            )
        files |= found
    return sorted(files, key=lambda file: file.relative_to(library).as_posix())


def corpus(library: Path, packages: list[str]) -> bytes:
    """The files, concatenated and gzipped without a timestamp: the same bytes for the same files."""
    return gzip.compress(b"".join(file.read_bytes() for file in sources(library, packages)), mtime=0)


def main() -> None:
    """Writes the packages that the arguments name into one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="the .gz file to write")
    parser.add_argument("packages", nargs="+", help="packages of the standard library, such as asyncio")
    arguments = parser.parse_args()
    arguments.output.write_bytes(corpus(Path(sysconfig.get_path("stdlib")), arguments.packages))


if __name__ == "__main__":
    main()
