package wire_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
	"pangea.example/pangea/services/go-orchestrator/internal/wiretest"
)

func manySmall(n int) []protocol.Spec {
	specs := make([]protocol.Spec, n)
	for i := range specs {
		specs[i] = protocol.Spec{Name: fmt.Sprintf("layer.%d", i), DType: protocol.Float32, Shape: []uint64{uint64(1 + i%3)}}
	}
	return specs
}

func TestAggregateRoundTrip(t *testing.T) {
	for _, test := range []struct {
		scenario string
		specs    []protocol.Spec
		frames   int
	}{
		{"a small model in one frame", testLayout(t).Specs, 1},
		{"a tensor larger than a frame", []protocol.Spec{{Name: "a", DType: protocol.Float32, Shape: []uint64{3}},
			{Name: "big", DType: protocol.Float32, Shape: []uint64{2, vector.BlockElements}},
			{Name: "z", DType: protocol.Float32, Shape: []uint64{1}}}, 9},
		{"exactly one frame", []protocol.Spec{{Name: "a", DType: protocol.Float32,
			Shape: []uint64{vector.BlockElements / 4}}}, 1},
		{"many small tensors", manySmall(600), 3},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			layout := layoutOf(t, test.specs...)
			want := testUpdate(layout, 5).Gradients
			builder := testPool().Build(len(want))
			if err := builder.Write(vector.Bytes(want)); err != nil {
				t.Fatal(err)
			}
			gradients, _ := builder.Finish()
			cut := wire.Cut(layout)
			bulk := wire.NewAggregate(&protocol.Aggregate{Step: 3, Samples: 64, LossSum: 1.5, Divisor: 48.5,
				Gradients: gradients, Hash: contenthash.XXH3Tree.Of(vector.Bytes(want))}, layout, cut)
			if bulk.Frames() != test.frames {
				t.Fatalf("%d frames; want %d", bulk.Frames(), test.frames)
			}
			var whole []byte
			for i := range bulk.Frames() {
				frame, err := bulk.Frame(i)
				if err != nil {
					t.Fatal(err)
				}
				if frame.Size() > 5<<18 || len(cut[i]) > 256 {
					t.Fatalf("frame %d has %d bytes and %d pieces", i, frame.Size(), len(cut[i]))
				}
				whole = append(whole, stream(t, 8, frame)...)
			}
			request, got, err := wiretest.Reply(reader(bytes.NewReader(whole), 16<<20).Next)
			if err != nil || request != 8 {
				t.Fatal(request, err)
			}
			a := got.(*wiretest.Aggregate)
			if a.Step != 3 || a.Samples != 64 || a.LossSum != 1.5 || a.Divisor != 48.5 || !slices.Equal(a.Gradients, want) {
				t.Fatalf("step %d, %d samples, loss %v, divisor %v, or different gradients", a.Step, a.Samples, a.LossSum,
					a.Divisor)
			}
		})
	}
}

func TestSnapshotRoundTrip(t *testing.T) {
	state := make([]byte, 9<<20+5)
	for i := range state {
		state[i] = byte(i * 7 / 5)
	}
	for _, piece := range []int{4 << 20, 1 << 20, 333_333, len(state)} {
		memory := budget.New("test", 1<<30)
		messages := open(t, wiretest.Snapshot(6, protocol.Hash{5}, state, piece)...)
		assembly, err := wire.NewSnapshotAssembly(messages[0], memory)
		if err != nil {
			t.Fatal(err)
		}
		var snapshot *protocol.Snapshot
		for _, message := range messages {
			if snapshot, err = assembly.Add(message); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(slices.Concat(snapshot.Blocks...), state) {
			t.Fatalf("pieces of %d: different bytes", piece)
		}
		var whole []byte
		bulk := wire.NewSnapshot(snapshot)
		for i := range bulk.Frames() {
			frame, err := bulk.Frame(i)
			if err != nil {
				t.Fatal(err)
			}
			whole = append(whole, stream(t, 2, frame)...)
		}
		_, got, err := wiretest.Reply(reader(bytes.NewReader(whole), 16<<20).Next)
		if err != nil {
			t.Fatal(err)
		}
		if s := got.(*wiretest.State); s.Step != 6 || s.ParametersHash != (protocol.Hash{5}) || !bytes.Equal(s.Bytes, state) {
			t.Fatalf("pieces of %d: the snapshot handed on differs", piece)
		}
		if memory.Used() < int64(len(state)) || memory.Used() > int64(len(state))+8<<20 {
			t.Fatalf("%d bytes counted for %d", memory.Used(), len(state))
		}
		if snapshot.Release(); memory.Used() != 0 {
			t.Fatalf("%d bytes are still counted", memory.Used())
		}
	}
}

func TestBrokenSnapshotsAreMalformed(t *testing.T) {
	state := make([]byte, 1000)
	frames := wiretest.Snapshot(6, protocol.Hash{}, state, 400)
	damaged := wiretest.Snapshot(6, protocol.Hash{}, append([]byte{1}, state[1:]...), 400)
	for _, test := range []struct {
		scenario string
		frames   []wire.Frame
		reason   string
	}{
		{"a gap", []wire.Frame{frames[0], frames[2]}, "starts at byte 800; the next byte is 400"},
		{"a piece twice", []wire.Frame{frames[0], frames[0]}, "starts at byte 0"},
		{"another step in between", []wire.Frame{frames[0], wiretest.Snapshot(7, protocol.Hash{}, state, 400)[1]},
			"different steps"},
		{"bits that changed in transit", []wire.Frame{damaged[0], frames[1], frames[2]}, "corrupted"},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			memory := budget.New("test", 1<<20)
			messages := open(t, test.frames...)
			assembly, err := wire.NewSnapshotAssembly(messages[0], memory)
			if err != nil {
				t.Fatal(err)
			}
			for _, message := range messages {
				if _, err = assembly.Add(message); err != nil {
					break
				}
			}
			if err == nil || !strings.Contains(err.Error(), test.reason) {
				t.Fatalf("error is %v; want %q", err, test.reason)
			}
			if assembly.Discard(); memory.Used() != 0 {
				t.Fatalf("%d bytes are still counted", memory.Used())
			}
		})
	}
}
