"""The files of a wheel's .dist-info folder that say what it is."""

from __future__ import annotations

import configparser
import io
import tomllib
from collections.abc import Collection

import pyproject_metadata
from packaging.version import Version


class WrongProject(ValueError):
    """The table `project` cannot become metadata; the message says why."""


def metadata_files(project: str, version: str, tag: str, readme: str, licenses: Collection[str]) -> dict[str, bytes]:
    """Returns METADATA, WHEEL and entry_points.txt by their names.

    Args:
        project: TOML with the table `project` of a pyproject.toml, in which the version is dynamic.
        version: of the distribution.
        tag: PYTHON-ABI-PLATFORM.
        readme: the long description, in Markdown.
        licenses: names of the files in licenses/.
    Raises:
        WrongProject: something in the table is not as the specification has it.
    """
    table = tomllib.loads(project)["project"]
    if table.get("dynamic") != ["version"]:
        raise WrongProject('the table `project` has to say: dynamic = ["version"]')
    # Which files there are is said by the rule, which has them; the library would look for them in a folder.
    table = {name: value for name, value in table.items() if name not in ("dynamic", "license-files")}
    try:
        metadata = pyproject_metadata.StandardMetadata.from_pyproject(
            {"project": {**table, "version": version, "readme": {"text": readme, "content-type": "text/markdown"}}},
            metadata_version="2.4",
            all_errors=True,
        )
    except* (pyproject_metadata.ConfigurationError, ValueError) as errors:
        raise WrongProject("; ".join(str(error) for error in errors.exceptions)) from errors
    assert metadata.version == Version(version)
    message = metadata.as_rfc822()
    for name in sorted(licenses):
        message["License-File"] = name
    return {
        "METADATA": bytes(message),
        "WHEEL": f"Wheel-Version: 1.0\nGenerator: pangea\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(),
        "entry_points.txt": _entry_points(table),
    }


def _entry_points(table: dict[str, dict[str, str]]) -> bytes:
    points = configparser.ConfigParser(delimiters=("=",))
    points["console_scripts"] = table.get("scripts", {})
    text = io.StringIO()
    points.write(text)
    return text.getvalue().encode()
