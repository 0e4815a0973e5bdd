@0xd2f1a0b3c4e59687;
# Imported from another package by shapes/shape.capnp.

using Go = import "/go.capnp";
$Go.package("colours");
$Go.import("pangea.example/pangea/tools/capnp/tests/colours");

struct Colour {
  red @0 :UInt8;
  green @1 :UInt8;
  blue @2 :UInt8;
}
