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

const maxPoints :UInt32 = 1024;
const offset :Int64 = -5;
const ratio :Float64 = 1.5;
const far :Float64 = inf;
const closed :Bool = true;
const origin :Text = "the \"centre\"";
const mark :Data = 0x"00ff";

enum Style {
  plain @0;
  longDash2 @1;
}

struct Line {
  enum End {
    round @0;
    butt @1;
  }
  const maxWidth :UInt8 = 3;
  end @0 :End;
}
