"""A bill of materials in CycloneDX's format whose bytes depend on nothing but what it lists."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component as CycloneComponent
from cyclonedx.model.component import ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from tools.images.sbom.components import Component

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "pangea")


def _package_url(component: Component) -> PackageURL:
    """The name that every scanner knows; https://github.com/package-url/purl-spec."""
    if component.kind == "deb":
        return PackageURL("deb", "debian", component.name, component.version, {"arch": "amd64", "distro": "trixie"})
    namespace, _, name = component.name.rpartition("/") if component.kind == "golang" else ("", "", component.name)
    return PackageURL(component.kind, namespace or None, name, component.version)


def _entry(component: Component) -> CycloneComponent:
    url = _package_url(component)
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=component.sha256)] if component.sha256 else []
    return CycloneComponent(
        type=ComponentType.LIBRARY,
        name=component.name,
        version=component.version,
        purl=url,
        bom_ref=url.to_string(),
        hashes=hashes,
    )


def bill_of_materials(name: str, version: str, components: Iterable[Component], kind: str = "container") -> str:
    """The bill as JSON.

    Args:
        name: of the image or wheel.
        version: of the image or wheel.
        components: what it is made of, in any order, also more than once.
        kind: "container" or "library": what it is.
    """
    listed = sorted(set(components))
    subject = CycloneComponent(type=ComponentType(kind), name=name, version=version, bom_ref=f"{name}@{version}")
    bom = Bom(
        components=[_entry(component) for component in listed],
        serial_number=uuid.uuid5(_NAMESPACE, repr((name, version, listed))),
    )
    bom.metadata.component = subject
    bom.metadata.timestamp = datetime.fromtimestamp(0, UTC)
    bom.register_dependency(subject, bom.components)
    return str(JsonV1Dot6(bom).output_as_string(indent=1))
