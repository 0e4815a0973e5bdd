"""Constants and enums of a schema, without pycapnp."""

import enum
import sys

from tools.capnp.tests.shapes import shape_constants


def test_constants_have_the_values_of_the_schema() -> None:
    values = {name: value for name, value in vars(shape_constants).items() if name.isupper()}
    assert values == {
        "MAX_POINTS": 1024,
        "OFFSET": -5,
        "RATIO": 1.5,
        "FAR": float("inf"),
        "CLOSED": True,
        "ORIGIN": 'the "centre"',
        "MARK": b"\x00\xff",
        "LINE_MAX_WIDTH": 3,
    }


def test_enums_are_numbers_with_names() -> None:
    assert issubclass(shape_constants.Style, enum.IntEnum)
    assert [(member.name, member.value) for member in shape_constants.Style] == [("PLAIN", 0), ("LONG_DASH2", 1)]
    assert [(member.name, member.value) for member in shape_constants.LineEnd] == [("ROUND", 0), ("BUTT", 1)]


def test_pycapnp_is_not_needed() -> None:
    assert "capnp" not in sys.modules
