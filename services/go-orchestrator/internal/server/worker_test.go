package server_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"testing"

	"capnproto.org/go/capnp/v3"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
	"pangea.example/pangea/services/go-orchestrator/internal/wiretest"
)

// worker is the other end of a connection.
type worker struct {
	connection net.Conn
	reader     *wire.Reader
	layout     *protocol.Layout
	requests   uint64
	local      *wiretest.Local // of a worker that shares memory
	slots      int             // that it announces once it has joined
}

func connect(t *testing.T, address string) *worker {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	layout, err := protocol.NewLayout(testJoin().Parameters, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return &worker{connection: connection, layout: layout,
		reader: wire.NewReader(connection, wire.DefaultLimits(16<<20), budget.New("worker", 64<<20))}
}

func testJoin() protocol.Join {
	return protocol.Join{
		Version: tensor.ProtocolVersion, WorkerName: "w", Software: "test",
		Parameters: []protocol.Spec{{Name: "weight", DType: protocol.Float32, Shape: []uint64{40, 25}},
			{Name: "bias", DType: protocol.Float32, Shape: []uint64{7}}},
		Dataset: protocol.Dataset{Name: "d", TrainSamples: 40},
	}
}

// stateAt is the state of a worker whose parameters are nothing but the number of steps, and the
// hash of these parameters.
func stateAt(step uint64) (protocol.Hash, []byte) {
	weight, bias := make([]byte, 4*40*25), make([]byte, 4*7)
	binary.LittleEndian.PutUint64(weight, step)
	header := `{"__metadata__":{"pangea":"{\"hashed\":[\"weight\",\"bias\"]}"},"model.weight":{"dtype":"F32","shape":[40,25],"data_offsets":[0,4000]},` +
		`"model.bias":{"dtype":"F32","shape":[7],"data_offsets":[4000,4028]}}`
	content := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	content = append(append(append(content, header...), weight...), bias...)
	return contenthash.XXH3Tree.Of(weight, bias), content
}

// initialJoin is that of a worker with the initial parameters of stateAt.
func initialJoin() protocol.Join {
	join := testJoin()
	join.ParametersContentHash, _ = stateAt(0)
	return join
}

func (w *worker) send(frames ...wire.Frame) error {
	w.requests++
	return w.sendAs(w.requests, frames...)
}

func (w *worker) sendAs(request uint64, frames ...wire.Frame) error {
	for _, frame := range frames {
		buffers, err := frame.Buffers(request)
		if err != nil {
			return err
		}
		if _, err := buffers.WriteTo(w.connection); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) ask(frames ...wire.Frame) (any, error) {
	if err := w.send(frames...); err != nil {
		return nil, err
	}
	if w.local != nil {
		_, reply, err := w.local.Reply()
		if _, joined := reply.(protocol.Joined); joined {
			err = w.announce()
		}
		return reply, err
	}
	_, reply, err := wiretest.Reply(func() (*capnp.Message, error) { return w.reader.Next() })
	return reply, err
}

// announce shares the worker's slots.
func (w *worker) announce() error {
	for id := range w.slots {
		if err := w.local.Announce(uint32(id), w.layout.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// frames of an update: in shared memory, if there is a free slot.
func (w *worker) frames(update wiretest.Update) []wire.Frame {
	if w.local != nil {
		if place, is := w.local.Place(update.Gradients); is {
			return []wire.Frame{update.Placed(place)}
		}
	}
	return update.Frames(w.layout, 300, 2)
}

// samples of a shard: 40 samples in steps of 16 over 8 shards make steps of 16, 16 and 8 samples.
func samples(epochStep uint32) uint32 {
	if epochStep == 2 {
		return 1
	}
	return 2
}

// gradient of a node of the tree: added from its shards in the tree's order.
func gradient(step uint64, node tree.Node, elements int) []float32 {
	if node.Count > 1 {
		half := node.Count / 2
		left := gradient(step, tree.Node{First: node.First, Count: half}, elements)
		for i, value := range gradient(step, tree.Node{First: node.First + half, Count: half}, elements) {
			left[i] += value
		}
		return left
	}
	values := make([]float32, elements)
	for i := range values {
		values[i] = float32(step+1) / float32(3+7*int(node.First)+i)
	}
	return values
}

// update of a node, as a worker submits it.
func (w *worker) update(step uint64, epochStep uint32, node tree.Node) wiretest.Update {
	update := wiretest.Update{Step: step, FirstShard: node.First, Gradients: gradient(step, node, w.layout.Elements())}
	for shard := node.First; shard < node.First+node.Count; shard++ {
		update.Reports = append(update.Reports, protocol.Report{Shard: shard, Samples: samples(epochStep),
			Weight: float64(samples(epochStep)), LossSum: 0.1 * float64(shard+1)})
	}
	return update
}

// train plays a worker to the end of the run, whose parameters are nothing but the number of steps.
// It returns the hashes of the aggregates.
func (w *worker) train() (hashes []protocol.Hash, err error) {
	if reply, err := w.ask(wiretest.Join(initialJoin())); err != nil {
		return nil, err
	} else if _, is := reply.(protocol.Joined); !is {
		return nil, fmt.Errorf("%T: %v", reply, reply)
	}
	step := uint64(0)
	for {
		parameters, content := stateAt(step)
		reply, err := w.ask(wiretest.Work(protocol.Work{Step: step, ParametersHash: parameters}))
		if err != nil {
			return nil, err
		}
		switch r := reply.(type) {
		case protocol.Lease:
			for _, node := range tree.Cover(r.Shards) {
				update := w.update(step, r.EpochStep, node)
				if reply, err := w.ask(w.frames(update)...); err != nil {
					return nil, err
				} else if ack, is := reply.(protocol.Ack); !is || ack.Verdict != protocol.Accepted {
					return nil, fmt.Errorf("%T: %v", reply, reply)
				}
			}
		case *wiretest.Aggregate:
			hashes = append(hashes, r.Hash)
			step++
		case *wiretest.State:
			step = r.Step
		case protocol.SnapshotRequest:
			if err := w.send(wiretest.Snapshot(step, parameters, content, 300)...); err != nil {
				return nil, err
			}
		case protocol.Finished:
			return hashes, w.connection.Close()
		default:
			return nil, fmt.Errorf("%T: %v", reply, reply)
		}
	}
}
