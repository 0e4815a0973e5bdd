package shapes_test

import (
	"testing"

	"capnproto.org/go/capnp/v3"

	"pangea.example/pangea/tools/capnp/tests/shapes"
)

func TestAnImportedStructIsAField(t *testing.T) {
	message, segment := capnp.NewSingleSegmentMessage(nil)
	shape, err := shapes.NewRootShape(segment)
	if err != nil {
		t.Fatal(err)
	}
	fill, err := shape.NewFill()
	if err != nil {
		t.Fatal(err)
	}
	fill.SetGreen(200)
	shape.SetRadius(1.5)
	data, err := message.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	received, err := capnp.Unmarshal(data)
	if err != nil {
		t.Fatal(err)
	}
	read, err := shapes.ReadRootShape(received)
	if err != nil {
		t.Fatal(err)
	}
	colour, err := read.Fill()
	if err != nil || colour.Green() != 200 || read.Radius() != 1.5 {
		t.Fatal(colour.Green(), err)
	}
}
