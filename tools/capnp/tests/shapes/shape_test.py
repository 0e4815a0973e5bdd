"""An imported struct is a field, in the module and in its stub."""

from pathlib import Path

from tools.capnp.tests.colours import colour_capnp
from tools.capnp.tests.shapes import shape_capnp


def test_an_imported_struct_is_a_field() -> None:
    fill = colour_capnp.Colour.new_message(green=200)
    built = shape_capnp.Shape.new_message(name="disc", fill=fill, radius=1.5)
    with shape_capnp.Shape.from_bytes(built.to_bytes()) as read:
        assert (read.name, read.fill.green, read.which(), read.radius) == ("disc", 200, "radius", 1.5)


def test_the_stub_names_the_other_module() -> None:
    stub = Path(shape_capnp.__file__).with_suffix(".pyi").read_text()
    assert "import tools.capnp.tests.colours.colour_capnp" in stub
    assert "def fill(self) -> tools.capnp.tests.colours.colour_capnp.Colour.Reader" in stub
