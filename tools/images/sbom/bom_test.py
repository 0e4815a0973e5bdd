"""A bill is valid CycloneDX, names what scanners know, and is the same for the same components."""

from __future__ import annotations

import json

from cyclonedx.model.bom import Bom

from tools.images.sbom.bom import bill_of_materials
from tools.images.sbom.components import Component

COMPONENTS = [
    Component("golang", "example.com/one/two", "v1.2.0"),
    Component("deb", "libc6", "2.41-12+deb13u5", "a" * 64),
    Component("cargo", "serde", "1.0.0", "b" * 64),
    Component("pypi", "rich", "15.0.0", "c" * 64),
    Component("golang", "std", "1.26.4"),
]


def test_each_component_has_its_package_url_and_hash() -> None:
    bill = json.loads(bill_of_materials("pangea/x", "1.0.0", COMPONENTS))
    assert {entry["purl"]: [item["content"] for item in entry.get("hashes", [])] for entry in bill["components"]} == {
        "pkg:cargo/serde@1.0.0": ["b" * 64],
        "pkg:deb/debian/libc6@2.41-12%2Bdeb13u5?arch=amd64&distro=trixie": ["a" * 64],
        "pkg:golang/example.com/one/two@v1.2.0": [],
        "pkg:golang/std@1.26.4": [],
        "pkg:pypi/rich@15.0.0": ["c" * 64],
    }
    assert bill["metadata"]["component"]["name"] == "pangea/x"


def test_the_library_reads_back_what_it_wrote() -> None:
    bill = Bom.from_json(json.loads(bill_of_materials("pangea/x", "1.0.0", COMPONENTS)))
    assert bill is not None and len(bill.components) == len(COMPONENTS)
    assert bill.validate()


def test_neither_order_nor_repetition_changes_a_byte() -> None:
    assert bill_of_materials("pangea/x", "1.0.0", COMPONENTS) == bill_of_materials(
        "pangea/x", "1.0.0", [*reversed(COMPONENTS), COMPONENTS[0]]
    )


def test_another_component_is_another_bill() -> None:
    one, other = (json.loads(bill_of_materials("pangea/x", "1.0.0", some)) for some in (COMPONENTS, COMPONENTS[1:]))
    assert one["serialNumber"] != other["serialNumber"]
