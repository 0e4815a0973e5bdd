@0xe3f2b1c4d5a69788;
# Imports a schema of another package.

using Go = import "/go.capnp";
using import "/tools/capnp/tests/colours/colour.capnp".Colour;
$Go.package("shapes");
$Go.import("pangea.example/pangea/tools/capnp/tests/shapes");

struct Shape {
  name @0 :Text;
  fill @1 :Colour;

  union {
    point @2 :Void;
    radius @3 :Float64;
  }
}
