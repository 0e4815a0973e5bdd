//! An imported struct is a field, and its bindings are exported again.

use shape_rust_capnp::colour_capnp::colour;
use shape_rust_capnp::shape_capnp::shape;

#[test]
fn an_imported_struct_is_a_field() {
    let mut message = capnp::message::Builder::new_default();
    let mut built = message.init_root::<shape::Builder<'_>>();
    built.set_radius(1.5);
    built.reborrow().init_fill().set_green(200);
    let read = built.into_reader();
    let fill: colour::Reader<'_> = read.get_fill().expect("set");
    assert_eq!(fill.get_green(), 200);
    assert!(matches!(read.which(), Ok(shape::Radius(radius)) if radius == 1.5));
}
