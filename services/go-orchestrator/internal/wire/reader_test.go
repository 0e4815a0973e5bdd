package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
	"pangea.example/pangea/services/go-orchestrator/internal/wiretest"
)

// stream returns the bytes of frames as they travel.
func stream(t *testing.T, request uint64, frames ...wire.Frame) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, frame := range frames {
		buffers, err := frame.Buffers(request)
		if err != nil {
			t.Fatal(err)
		}
		before := out.Len()
		if _, err := buffers.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		if got := int64(out.Len() - before); got != frame.Size() {
			t.Fatalf("a frame of size %d has %d bytes", frame.Size(), got)
		}
	}
	return out.Bytes()
}

func reader(source io.Reader, frameBytes int64) *wire.Reader {
	return wire.NewReader(source, wire.DefaultLimits(frameBytes), budget.New("test", 1<<30))
}

// table makes a frame's table of segment sizes, in words.
func table(words ...uint32) []byte {
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(words)-1))
	for _, n := range words {
		out = binary.LittleEndian.AppendUint32(out, n)
	}
	if len(words)%2 == 0 {
		out = append(out, 0, 0, 0, 0)
	}
	return out
}

func TestReaderRefusesHostileTables(t *testing.T) {
	for _, test := range []struct {
		scenario string
		bytes    []byte
		reason   string
	}{
		{"as many segments as a number can say", []byte{0xff, 0xff, 0xff, 0xff}, "4294967296 segments"},
		{"one segment more than allowed", binary.LittleEndian.AppendUint32(nil, 511), "512 segments"},
		{"one huge segment", table(1<<32 - 1), "larger than"},
		{"many that are huge together", table(slices.Repeat([]uint32{1<<32 - 1}, 511)...), "larger than"},
		{"one word more than allowed", table((1<<20)/8, 1), "larger than"},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			memory := budget.New("test", 1<<30)
			_, err := wire.NewReader(bytes.NewReader(test.bytes), wire.DefaultLimits(1<<20), memory).Next()
			var frameError *wire.FrameError
			if !errors.As(err, &frameError) || !strings.Contains(err.Error(), test.reason) {
				t.Fatalf("error is %v; want a FrameError about %q", err, test.reason)
			}
			if memory.Used() != 0 {
				t.Fatalf("%d bytes were taken", memory.Used())
			}
		})
	}
}

func TestReaderTakesMemoryOnlyAsBytesArrive(t *testing.T) {
	const limit = 64 << 20
	for _, sent := range []int{0, 1, 100 << 10, 5 << 20} {
		memory := budget.New("test", 1<<30)
		source := io.MultiReader(bytes.NewReader(table(limit/8)), io.LimitReader(zeros{}, int64(sent)))
		r := wire.NewReader(source, wire.DefaultLimits(limit), memory)
		if _, err := r.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("error is %v; want an unexpected end", err)
		}
		if most := int64(max(64<<10, 2*sent)); memory.Used() > most {
			t.Fatalf("%d bytes taken after %d arrived", memory.Used(), sent)
		}
		if r.Close(); memory.Used() != 0 {
			t.Fatalf("%d bytes are still taken after Close", memory.Used())
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestReaderStopsAtItsBudget(t *testing.T) {
	r := wire.NewReader(io.MultiReader(bytes.NewReader(table(1<<17)), zeros{}), wire.DefaultLimits(1<<20),
		budget.New("test", 100<<10))
	var exhausted *budget.ExhaustedError
	if _, err := r.Next(); !errors.As(err, &exhausted) {
		t.Fatalf("error is %v; want an exhausted budget", err)
	}
}

func TestReaderReadsSeveralSegmentsAtEveryCut(t *testing.T) {
	layout := testLayout(t)
	update := testUpdate(layout, 1)
	whole := stream(t, 7, update.Frames(layout, 5, 3)...)
	for cut := range len(whole) + 1 {
		// The bytes up to the cut and then the end: whole frames can be read, then there is a clear error
		// and never a message.
		r := reader(bytes.NewReader(whole[:cut]), 1<<20)
		read := 0
		for {
			message, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("cut at %d: %v", cut, err)
				}
				break
			}
			if message.NumSegments() < 2 {
				t.Fatal("the test needs frames of several segments")
			}
			if opened, err := wire.Open(message); err != nil || opened.RequestID != 7 {
				t.Fatalf("cut at %d: %+v %v", cut, opened, err)
			}
			read++
		}
		if cut == len(whole) && read != 3 {
			t.Fatalf("read %d frames; want 3", read)
		}
	}
	// The same bytes, one at a time.
	r := reader(oneByOne{bytes.NewReader(whole)}, 1<<20)
	for range 3 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
}

type oneByOne struct{ io.Reader }

func (o oneByOne) Read(p []byte) (int, error) { return o.Reader.Read(p[:min(1, len(p))]) }

func TestOpen(t *testing.T) {
	message := func(fill func(tensor.Message)) *capnp.Message {
		m, segment, err := capnp.NewMessage(capnp.SingleSegment(nil))
		if err != nil {
			t.Fatal(err)
		}
		root, err := tensor.NewRootMessage(segment)
		if err != nil {
			t.Fatal(err)
		}
		root.SetRequestId(9)
		fill(root)
		return m
	}
	for _, test := range []struct {
		scenario string
		message  *capnp.Message
		kind     protocol.Kind
		fails    bool
	}{
		{"a leave", message(func(m tensor.Message) { m.SetType(tensor.MessageType_leave); _, _ = m.NewLeave() }),
			protocol.KindLeave, false},
		{"type and union differ", message(func(m tensor.Message) {
			m.SetType(tensor.MessageType_leave)
			_,
				_ = m.NewWorkRequest()
		}), protocol.KindLeave, true},
		{"nothing at all", message(func(tensor.Message) {}), protocol.KindUnspecified, true},
		{"one from the future", future(t), 77, false},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			got, err := wire.Open(test.message)
			if (err != nil) != test.fails || got.Kind != test.kind || got.RequestID != 9 {
				t.Fatalf("%+v %v", got, err)
			}
		})
	}
	t.Run("a frame of nothing", func(t *testing.T) {
		if _, err := wire.Open(&capnp.Message{Arena: capnp.MultiSegment([][]byte{{}})}); err == nil {
			t.Fatal("accepted")
		}
	})
}

// future is a message whose type and union member this build does not know.
func future(t *testing.T) *capnp.Message {
	whole := stream(t, 9, wiretest.Leave(protocol.Leave{Reason: "x"}))
	first := whole[8:]
	binary.LittleEndian.PutUint16(first[rootStruct(first):], 77)
	binary.LittleEndian.PutUint16(first[rootStruct(first)+2:], 77)
	return &capnp.Message{Arena: capnp.MultiSegment([][]byte{first})}
}

// rootStruct is where the data of the root struct starts.
func rootStruct(segment []byte) int {
	return 8 + int(int32(binary.LittleEndian.Uint32(segment))>>2)*8
}

func TestDamagedFramesNeverPanic(t *testing.T) {
	layout := testLayout(t)
	source := rand.New(rand.NewPCG(1, 2))
	samples := [][]byte{
		stream(t, 1, wiretest.Join(testJoin(layout))),
		stream(t, 2, wiretest.Work(protocol.Work{Step: 3})),
		stream(t, 3, testUpdate(layout, 1).Frames(layout, 1000, 10)...),
		stream(t, 4, wiretest.Snapshot(1, protocol.Hash{}, make([]byte, 300), 1000)...),
		stream(t, 5, wiretest.Leave(protocol.Leave{Reason: "why"})),
	}
	// Large enough to be read in place.
	large := layoutOf(t, protocol.Spec{Name: "a", DType: protocol.Float32, Shape: []uint64{20_001}})
	inPlace := stream(t, 6, testUpdate(large, 1).Frames(large, 10_000, 4)...)
	pool := testPool()
	for range 2_000 {
		damaged := slices.Clone(inPlace)
		for range 1 + source.IntN(4) {
			damaged[source.IntN(1000)] = byte(source.Uint32())
		}
		if update, _, err := receive(damaged, large, pool); err == nil && update.Gradients != nil {
			update.Gradients.Release()
		}
	}
	for range 40_000 {
		damaged := slices.Clone(samples[source.IntN(len(samples))])
		for range 1 + source.IntN(4) {
			at := source.IntN(len(damaged))
			damaged[at] = byte(source.Uint32())
		}
		frame, err := reader(bytes.NewReader(damaged), 1<<20).Next()
		if err != nil {
			continue
		}
		message, err := wire.Open(frame)
		if err != nil {
			continue
		}
		switch message.Kind {
		case protocol.KindJoinRequest:
			_, _ = message.Join()
		case protocol.KindWorkRequest:
			_, _ = message.Work()
		case protocol.KindLeave:
			_, _ = message.Leave()
		case protocol.KindGradientUpdate:
			assembly := wire.NewUpdateAssembly(message, layout, pool)
			if update, err := assembly.Add(message); err != nil || update == nil {
				assembly.Discard()
			} else if update.Gradients != nil {
				update.Gradients.Release()
			}
		case protocol.KindSnapshot:
			memory := budget.New("snapshots", 1<<20)
			if assembly, err := wire.NewSnapshotAssembly(message, memory); err == nil {
				if snapshot, err := assembly.Add(message); err == nil && snapshot != nil {
					snapshot.Release()
				} else {
					assembly.Discard()
				}
				if memory.Used() != 0 {
					t.Fatalf("%d bytes are lost", memory.Used())
				}
			}
		}
	}
}

// amplified is a JoinRequest whose parameters all have one text as their name, in little more than
// one copy of it.
func amplified(t *testing.T, parameters int32, nameBytes int) *capnp.Message {
	t.Helper()
	message, segment, err := capnp.NewMessage(capnp.SingleSegment(nil))
	if err != nil {
		t.Fatal(err)
	}
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := tensor.NewRootMessage(segment)
	check(err)
	root.SetType(tensor.MessageType_joinRequest)
	join, err := root.NewJoinRequest()
	check(err)
	check(join.SetParametersHash(make([]byte, 32)))
	name, err := capnp.NewText(segment, strings.Repeat("x", nameBytes))
	check(err)
	list, err := join.NewParameters(parameters)
	check(err)
	for i := range list.Len() {
		check(capnp.Struct(list.At(i)).SetPtr(0, name.ToPtr()))
	}
	return message
}

// What a small frame becomes when it is decoded depends on its own size, not on that of the
// largest.
func TestAFrameCannotBeDecodedToMuchMoreThanItself(t *testing.T) {
	for _, test := range []struct {
		parameters int32
		nameBytes  int
		refused    string
	}{
		{60_000, 1000, "limit"}, {60_000, 100_000, "1024"}, {10, 1000, ""},
	} {
		whole, err := amplified(t, test.parameters, test.nameBytes).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		r := reader(bytes.NewReader(whole), 16<<20)
		frame, err := r.Next()
		if err != nil || r.Size() != int64(len(whole))-8 {
			t.Fatalf("%d bytes, %v", r.Size(), err)
		}
		message, err := wire.Open(frame)
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = message.Join()
		runtime.ReadMemStats(&after)
		if test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)) {
			t.Errorf("%+v: %v", test, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 8*uint64(len(whole))+64<<10 {
			t.Errorf("%+v: %d bytes became %d", test, len(whole), took)
		}
	}
}

func TestALargeBufferIsNotKept(t *testing.T) {
	memory := budget.New("test", 1<<30)
	frame := append(table(1<<17), make([]byte, 1<<20)...)
	source, sender := io.Pipe()
	defer sender.Close()
	r := wire.NewReader(source, wire.DefaultLimits(1<<20), memory)
	go func() { _, _ = sender.Write(append(frame, 0)) }()
	if _, err := r.Next(); err != nil || memory.Used() != 1<<20 {
		t.Fatalf("%d bytes are taken, %v", memory.Used(), err)
	}
	// While it waits for the next frame, of which one byte has arrived.
	waited := make(chan error, 1)
	go func() {
		_, err := r.Next()
		waited <- err
	}()
	for memory.Used() != 0 {
		runtime.Gosched()
	}
	_ = sender.Close()
	if err := <-waited; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
}

func TestTheBudgetOfAReaderCanChange(t *testing.T) {
	first, second := budget.New("first", 1<<20), budget.New("second", 1<<20)
	frame := append(table(8), make([]byte, 64)...)
	r := wire.NewReader(bytes.NewReader(append(frame, frame...)), wire.DefaultLimits(1<<20), first)
	if _, err := r.Next(); err != nil || first.Used() != 64 {
		t.Fatal(first.Used(), err)
	}
	r.CountAgainst(second)
	if _, err := r.Next(); err != nil || first.Used() != 0 || second.Used() != 64 {
		t.Fatal(first.Used(), second.Used(), err)
	}
}
