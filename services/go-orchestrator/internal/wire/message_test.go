package wire_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"capnproto.org/go/capnp/v3"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
	"pangea.example/pangea/services/go-orchestrator/internal/wiretest"
)

func testPool() *vector.Pool { return vector.NewPool(budget.New("test", 1<<30)) }

func layoutOf(t *testing.T, specs ...protocol.Spec) *protocol.Layout {
	t.Helper()
	layout, err := protocol.NewLayout(specs, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	return layout
}

// testLayout has odd lengths, a scalar and an empty tensor, and a parameter in a narrow type.
func testLayout(t *testing.T) *protocol.Layout {
	return layoutOf(t,
		protocol.Spec{Name: "conv.weight", DType: protocol.Float32, Shape: []uint64{3, 1, 3, 3}},
		protocol.Spec{Name: "none", DType: protocol.Float32, Shape: []uint64{0, 4}},
		protocol.Spec{Name: "scale", DType: protocol.Float32, Shape: nil},
		protocol.Spec{Name: "fc.bias", DType: protocol.BFloat16, Shape: []uint64{5}},
	)
}

func testUpdate(layout *protocol.Layout, seed uint64) wiretest.Update {
	source := rand.New(rand.NewPCG(seed, 3))
	update := wiretest.Update{Step: 4, FirstShard: 2, Gradients: make([]float32, layout.Elements())}
	for i := range update.Gradients {
		update.Gradients[i] = float32(source.NormFloat64())
	}
	for shard := range uint32(2) {
		update.Reports = append(update.Reports, protocol.Report{Shard: 2 + shard, Samples: 8, LossSum: source.Float64(),
			BatchHash: protocol.Hash{1, byte(shard)}, Weight: 100 * source.Float64(), Summed: shard == 1,
			Stop:    strings.Repeat("enough ", int(shard)),
			Figures: []protocol.Figure{{Name: "größe", Value: source.Float64()}, {Name: "count", Value: 2}}[:2*shard]})
	}
	return update
}

func testJoin(layout *protocol.Layout) protocol.Join {
	return protocol.Join{
		Version: tensor.ProtocolVersion, WorkerName: "wörker", Software: "torch 2.6", Parameters: layout.Specs,
		ParametersHash: protocol.Hash{1, 2}, ParametersContentHash: protocol.Hash{3, 4}, Step: 5, ProcessID: 77,
		Training: `{"lr":0.1}`, Arithmetic: "avx2",
		Fingerprints: []protocol.Fingerprint{{Operator: "exp", Hash: protocol.Hash{5}},
			{Operator: "matmul", Hash: protocol.Hash{6}}},
		Dataset: protocol.Dataset{Name: "digits", Hash: protocol.Hash{3}, TrainSamples: 1438, HeldOutSamples: 359,
			Classes:  10,
			Features: protocol.Spec{Name: "features", DType: protocol.Float32, Shape: []uint64{1, 8, 8}},
			Label:    protocol.Spec{Name: "labels", DType: protocol.Int64, Shape: []uint64{}}},
	}
}

func open(t *testing.T, frames ...wire.Frame) []wire.Message {
	t.Helper()
	r := reader(bytes.NewReader(stream(t, 1, frames...)), 1<<30)
	var messages []wire.Message
	for range frames {
		frame, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		// The reader's buffer is reused, and this helper gives all messages at once.
		var segments [][]byte
		for i := range frame.NumSegments() {
			segment, err := frame.Segment(capnp.SegmentID(i))
			if err != nil {
				t.Fatal(err)
			}
			segments = append(segments, slices.Clone(segment.Data()))
		}
		message, err := wire.Open(&capnp.Message{Arena: capnp.MultiSegment(segments), TraverseLimit: 1 << 40})
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, message)
	}
	return messages
}

func TestRequestsRoundTrip(t *testing.T) {
	join := testJoin(testLayout(t))
	for i, spec := range join.Parameters {
		join.Parameters[i].Shape = append([]uint64{}, spec.Shape...)
	}
	if got, err := open(t, wiretest.Join(join))[0].Join(); err != nil || !reflect.DeepEqual(got, join) {
		t.Fatalf("got %+v, %v\nwant %+v", got, err, join)
	}
	work := protocol.Work{Step: 1 << 40, ParametersHash: protocol.Hash{9}, Timings: protocol.Timings{Data: 1, Compute: 2,
		Exchange: 3}, Stop: "patience", Figures: []protocol.Figure{{Name: "norm", Value: 0.1}}}
	if got, err := open(t, wiretest.Work(work))[0].Work(); err != nil || !reflect.DeepEqual(got, work) {
		t.Fatalf("got %+v, %v", got, err)
	}
	leave := protocol.Leave{Reason: "done", Broken: "an operation is not deterministic"}
	if got, err := open(t, wiretest.Leave(leave))[0].Leave(); err != nil || got != leave {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestFiguresBeyondTheirLimitsAreRefused(t *testing.T) {
	for _, test := range []struct {
		scenario, want string
		figures        []protocol.Figure
	}{
		{"more than a report may have", "it has 65 figures; it may have 64", make([]protocol.Figure, 65)},
		{"without a name", "the name of figure 0 has 0 bytes", make([]protocol.Figure, 1)},
		{"with a long name", "the name of figure 0 has 129 bytes", []protocol.Figure{{Name: strings.Repeat("n", 129)}}},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			_, err := open(t, wiretest.Work(protocol.Work{Figures: test.figures}))[0].Work()
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func sameReport(a, b protocol.Report) bool {
	return a.SameResult(b) && slices.Equal(a.Figures, b.Figures)
}

// A worker of an earlier protocol is refused for its version, so its request has to be readable.
func TestAJoinOfAnEarlierProtocolIsRead(t *testing.T) {
	join := testJoin(testLayout(t))
	join.Version, join.ParametersContentHash = tensor.ProtocolVersion-1, protocol.Hash{}
	got, err := open(t, wiretest.Join(join))[0].Join()
	if err != nil || got.Version != join.Version || got.ParametersContentHash != (protocol.Hash{}) {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestAJoinWithTooManyFingerprintsIsRefused(t *testing.T) {
	join := testJoin(testLayout(t))
	join.Fingerprints = slices.Repeat(join.Fingerprints, int(tensor.MaxFingerprints))
	if _, err := open(t, wiretest.Join(join))[0].Join(); err == nil ||
		!strings.Contains(err.Error(), "128 fingerprints; it may have 64") {
		t.Fatal(err)
	}
}

// Every text has a limit, which is that of the schema, and is UTF-8.
func TestTextsBeyondTheirLimitAreRefused(t *testing.T) {
	long := func(limit uint32) string { return strings.Repeat("x", int(limit)+1) }
	for detail, change := range map[string]func(*protocol.Join){
		"workerName has 129 bytes; it may have 128":   func(j *protocol.Join) { j.WorkerName = long(128) },
		"workerName is \"\\x1b[2J\"":                  func(j *protocol.Join) { j.WorkerName = "\x1b[2J" },
		"workerName is not UTF-8":                     func(j *protocol.Join) { j.WorkerName = "\xff" },
		"software has 257 bytes; it may have 256":     func(j *protocol.Join) { j.Software = long(256) },
		"software is not UTF-8":                       func(j *protocol.Join) { j.Software = "\xc3" },
		"runId has 257 bytes; it may have 256":        func(j *protocol.Join) { j.RunID = long(256) },
		"training has 65537 bytes; it may have 65536": func(j *protocol.Join) { j.Training = long(65536) },
		"arithmetic has 33 bytes; it may have 32":     func(j *protocol.Join) { j.Arithmetic = long(32) },
		"parameter 1: its name has 1025 bytes; it may have 1024": func(j *protocol.Join) {
			j.Parameters[1].Name = long(1024)
		},
		"parameter 0: its name is not UTF-8": func(j *protocol.Join) { j.Parameters[0].Name = "\xff" },
		"the operator of a fingerprint has 65 bytes; it may have 64": func(j *protocol.Join) {
			j.Fingerprints[0].Operator = long(64)
		},
		"dataset.name has 1025 bytes; it may have 1024": func(j *protocol.Join) { j.Dataset.Name = long(1024) },
		"dataset.features: its name has 1025 bytes":     func(j *protocol.Join) { j.Dataset.Features.Name = long(1024) },
	} {
		join := testJoin(testLayout(t))
		change(&join)
		if _, err := open(t, wiretest.Join(join))[0].Join(); err == nil || !strings.Contains(err.Error(), detail) {
			t.Errorf("want %s: %v", detail, err)
		}
	}
	work := wiretest.Work(protocol.Work{Stop: long(1024)})
	if _, err := open(t, work)[0].Work(); err == nil || !strings.Contains(err.Error(), "stop has 1025 bytes") {
		t.Error(err)
	}
}

// A worker that leaves is not told that it said too much: nobody would send a shorter text.
func TestWhatAWorkerSaysAtTheEndIsCut(t *testing.T) {
	leave := protocol.Leave{Reason: strings.Repeat("é", 1000) + "x", Broken: strings.Repeat("x", 5000)}
	got, err := open(t, wiretest.Leave(leave))[0].Leave()
	if err != nil || got.Reason != strings.Repeat("é", 512) || got.Broken != strings.Repeat("x", 4096) {
		t.Fatalf("%d and %d bytes, %v", len(got.Reason), len(got.Broken), err)
	}
}

func TestADetailIsCut(t *testing.T) {
	for _, reply := range []protocol.Reply{
		protocol.Ack{Detail: strings.Repeat("é", 5000)}, protocol.Errorf(protocol.Stop, "%s", strings.Repeat("é", 5000)),
		protocol.Finished{Stopped: strings.Repeat("é", 5000)},
	} {
		frame, err := wire.Encode(reply)
		if err != nil || frame.Size() > 9000 {
			t.Fatalf("%d bytes, %v", frame.Size(), err)
		}
	}
}

func TestRepliesRoundTrip(t *testing.T) {
	for _, reply := range []protocol.Reply{
		protocol.Joined{RunID: "r", WorkerID: 3, Step: 7, TotalSteps: 70,
			Settings: protocol.Settings{Seed: 1 << 60, Shards: 8, BatchSize: 64, Epochs: 2, MinShardSamples: 3, DropLast: true}},
		protocol.Lease{Step: 9, Epoch: 1, EpochStep: 2, Shards: []uint32{3, 4, 5}},
		protocol.Lease{Step: 9, Shards: slices.Repeat([]uint32{1}, 1024)},
		protocol.Ack{Verdict: protocol.Conflict, Detail: strings.Repeat("long ", 1600)},
		protocol.SnapshotRequest{Step: 12},
		protocol.Finished{Steps: 70, ParametersHash: protocol.Hash{4}},
		protocol.Finished{Steps: 9, ParametersHash: protocol.Hash{4}, Incidents: 3,
			Stopped: strings.Repeat("patience ", 100)},
		protocol.Left{Reason: "bye"},
		&protocol.Error{Action: protocol.RetryLater, Detail: "busy", Refused: protocol.KindWorkRequest, RetryAfter: 0.5},
	} {
		frame, err := wire.Encode(reply)
		if err != nil {
			t.Fatal(err)
		}
		request, got, err := wiretest.Reply(reader(bytes.NewReader(stream(t, 41, frame)), 1<<20).Next)
		if err != nil || request != 41 || !reflect.DeepEqual(got, any(reply)) {
			t.Errorf("got %d %+v, %v\nwant %+v", request, got, err, reply)
		}
	}
	if _, err := wire.Encode(&protocol.Aggregate{}); err == nil {
		t.Error("an aggregate must not be encoded as one frame")
	}
}

func TestUpdateIsAssembledFromAnyCut(t *testing.T) {
	layout := testLayout(t)
	want := testUpdate(layout, 1)
	for _, cut := range [][2]int{{1000, 256}, {1, 1}, {1, 7}, {4, 2}, {5, 1}} {
		assembly := (*wire.UpdateAssembly)(nil)
		messages := open(t, want.Frames(layout, cut[0], cut[1])...)
		for i, message := range messages {
			if assembly == nil {
				assembly = wire.NewUpdateAssembly(message, layout, testPool())
			}
			got, err := assembly.Add(message)
			if err != nil {
				t.Fatal(err)
			}
			if i < len(messages)-1 {
				if got != nil {
					t.Fatal("an update before its last frame")
				}
				continue
			}
			if got.Refusal != "" || got.Step != 4 || got.FirstShard != 2 || got.ShardCount != 2 ||
				!slices.EqualFunc(got.Reports, want.Reports, sameReport) {
				t.Fatalf("cut %v: %+v", cut, got)
			}
			if !slices.Equal(slices.Concat(got.Gradients.Blocks()...), want.Gradients) {
				t.Fatalf("cut %v: other gradients", cut)
			}
		}
	}
}

func TestUpdateThatIsNotAGradientOfTheModelIsRefused(t *testing.T) {
	layout := testLayout(t)
	with := func(change func([]protocol.Spec) []protocol.Spec) []wire.Frame {
		other := layoutOf(t, change(slices.Clone(layout.Specs))...)
		return testUpdate(other, 1).Frames(other, 10, 1)
	}
	value := func(at int, value float32) []wire.Frame {
		update := testUpdate(layout, 1)
		update.Gradients[at] = value
		return update.Frames(layout, 10, 1)
	}
	reported := func(change func(*wiretest.Update)) []wire.Frame {
		update := testUpdate(layout, 1)
		change(&update)
		return update.Frames(layout, 10, 1)
	}
	frames := testUpdate(layout, 1).Frames(layout, 10, 1)
	reorder := func(order ...int) []wire.Frame {
		var out []wire.Frame
		for _, i := range order {
			out = append(out, frames[i])
		}
		return out
	}
	for _, test := range []struct {
		scenario string
		frames   []wire.Frame
		detail   string
	}{
		{"NaN", value(28, float32(math.NaN())), "fc.bias has NaN at element 0"},
		{"Inf in the middle of a tensor", value(11, float32(math.Inf(1))), "conv.weight has +Inf at element 11"},
		{"-Inf in the last element", value(32, float32(math.Inf(-1))), "fc.bias has -Inf at element 4"},
		{"a wrong name", with(func(s []protocol.Spec) []protocol.Spec { s[2].Name = "scales"; return s }),
			`"scales" comes where scale is expected`},
		{"a wrong shape", with(func(s []protocol.Spec) []protocol.Spec { s[0].Shape = []uint64{27}; return s }),
			"conv.weight has shape [27]"},
		{"a tensor is missing in the middle", with(func(s []protocol.Spec) []protocol.Spec { return append(s[:2], s[3]) }),
			`"fc.bias" comes where scale is expected`},
		{"a tensor is missing at the end", with(func(s []protocol.Spec) []protocol.Spec { return s[:3] }),
			"tensor fc.bias lacks its elements from 0 on"},
		{"one tensor beyond the limit", with(func(s []protocol.Spec) []protocol.Spec {
			return append(s, protocol.Spec{Name: "more", DType: protocol.Float32, Shape: []uint64{1}})
		}), `"more" comes after all`},
		{"a gap", reorder(0, 2, 3, 4), "starts at byte 80; the next byte is 40"},
		{"more reports than a run has shards", reported(func(u *wiretest.Update) {
			u.Reports = slices.Repeat(u.Reports[:1],
				1025)
		}), "1025 shard reports are more than a run has shards"},
		{"a piece twice", reorder(0, 0, 1, 2, 3, 4), "starts at byte 0; the next byte is 40"},
	} {
		t.Run(test.scenario, func(t *testing.T) {
			pool := testPool()
			messages := open(t, test.frames...)
			assembly := wire.NewUpdateAssembly(messages[0], layout, pool)
			for i, message := range messages {
				update, err := assembly.Add(message)
				if err != nil {
					t.Fatal(err)
				}
				if last := i == len(messages)-1; !last && update != nil {
					t.Fatal("a refused update must still be read to its end")
				} else if last && (update == nil || !strings.Contains(update.Refusal, test.detail) || update.Gradients != nil) {
					t.Fatalf("update is %+v; want a refusal with %q", update, test.detail)
				}
			}
			if pool.Trim(); pool.Budget().Used() != 0 {
				t.Fatalf("%d bytes are still held", pool.Budget().Used())
			}
		})
	}
	t.Run("frames of different shards are malformed", func(t *testing.T) {
		other := testUpdate(layout, 1)
		other.FirstShard = 0
		messages := open(t, frames[0], other.Frames(layout, 10, 1)[1])
		assembly := wire.NewUpdateAssembly(messages[0], layout, testPool())
		if _, err := assembly.Add(messages[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := assembly.Add(messages[1]); err == nil {
			t.Fatal("accepted")
		}
	})
}
