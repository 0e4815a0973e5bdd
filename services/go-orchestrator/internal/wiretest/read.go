package wiretest

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"capnproto.org/go/capnp/v3"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

// Aggregate is an aggregate put together.
type Aggregate struct {
	Step      uint64
	Samples   uint64
	LossSum   float64
	Divisor   float64
	Gradients []float32
	Hash      protocol.Hash
	Shared    bool // the gradients came in shared memory
}

// State is a snapshot put together.
type State struct {
	Step           uint64
	ParametersHash protocol.Hash
	Bytes          []byte
}

// Reply reads frames from next until they make up one reply: a value of package protocol, a
// *Aggregate or a *State. It checks what the schema promises: order of pieces, hashes, one request
// id.
func Reply(next func() (*capnp.Message, error)) (request uint64, reply any, err error) {
	return replyIn(next, nil)
}

// replyIn reads a reply whose gradients may be in memory that region finds.
func replyIn(next func() (*capnp.Message, error), region func(id uint32) []byte) (request uint64, reply any,
	err error) {
	var aggregate *Aggregate
	var state *State
	for first := true; ; first = false {
		message, err := next()
		if err != nil {
			return 0, nil, err
		}
		root, err := tensor.ReadRootMessage(message)
		if err != nil {
			return 0, nil, err
		}
		if uint16(root.Type()) != uint16(root.Which()) {
			return 0, nil, fmt.Errorf("type %v and union %v differ", root.Type(), root.Which())
		}
		if !first && root.RequestId() != request {
			return 0, nil, errors.New("the request id changes within a reply")
		}
		request = root.RequestId()
		switch root.Which() {
		case tensor.Message_Which_aggregate:
			done, err := addAggregate(&aggregate, must(root.Aggregate()), region)
			if err != nil || done {
				return request, aggregate, err
			}
		case tensor.Message_Which_snapshot:
			done, err := addState(&state, must(root.Snapshot()))
			if err != nil || done {
				return request, state, err
			}
		default:
			reply, err := small(root)
			return request, reply, err
		}
	}
}

func addAggregate(to **Aggregate, frame tensor.Aggregate, region func(id uint32) []byte) (done bool, err error) {
	if *to == nil {
		*to = &Aggregate{Step: frame.Step(), Samples: frame.Samples(), LossSum: frame.LossSum(), Divisor: frame.Divisor()}
	}
	a := *to
	list := must(frame.Gradients())
	for i := range list.Len() {
		a.add(must(list.At(i).Data()))
	}
	if frame.HasPlace() {
		place := must(frame.Place())
		a.add(region(place.Region())[place.Offset():][:place.Bytes()])
		a.Shared = true
	}
	if frame.Abandoned() {
		*to = nil
		return false, nil
	}
	if !frame.Final() {
		return false, nil
	}
	a.Hash = must(protocol.ParseHash("hash", must(frame.Hash())))
	// By either method: this reader does not know which one the run uses.
	data := vector.Bytes(a.Gradients)
	if a.Hash != contenthash.XXH3Tree.Of(data) && a.Hash != contenthash.SHA256.Of(data) {
		return true, errors.New("the aggregate's hash is not that of its bytes")
	}
	return true, nil
}

func (a *Aggregate) add(data []byte) {
	for ; len(data) > 0; data = data[4:] {
		a.Gradients = append(a.Gradients, math.Float32frombits(binary.LittleEndian.Uint32(data)))
	}
}

func addState(to **State, frame tensor.Snapshot) (done bool, err error) {
	if *to == nil {
		*to = &State{Step: frame.Step(), ParametersHash: must(protocol.ParseHash("parametersHash",
			must(frame.ParametersHash())))}
	}
	s := *to
	if frame.ByteOffset() != uint64(len(s.Bytes)) {
		return true, errors.New("a piece of the snapshot is missing")
	}
	s.Bytes = append(s.Bytes, must(frame.Data())...)
	if !frame.Final() {
		return false, nil
	}
	if uint64(len(s.Bytes)) != frame.TotalBytes() ||
		must(protocol.ParseHash("hash", must(frame.Hash()))) != sha256.Sum256(s.Bytes) {
		return true, errors.New("the snapshot's size or hash is not that of its bytes")
	}
	return true, nil
}

func small(root tensor.Message) (any, error) {
	switch root.Which() {
	case tensor.Message_Which_joinReply:
		r := must(root.JoinReply())
		s := must(r.Settings())
		return protocol.Joined{RunID: must(r.RunId()), WorkerID: r.WorkerId(), Step: r.Step(), TotalSteps: r.TotalSteps(),
			Settings: protocol.Settings{Seed: s.Seed(), Shards: s.Shards(), BatchSize: s.BatchSize(), Epochs: s.Epochs(),
				MinShardSamples: s.MinShardSamples(), DropLast: s.DropLast()}}, nil
	case tensor.Message_Which_shardLease:
		r := must(root.ShardLease())
		lease := protocol.Lease{Step: r.Step(), Epoch: r.Epoch(), EpochStep: r.EpochStep()}
		list := must(r.Shards())
		for i := range list.Len() {
			lease.Shards = append(lease.Shards, list.At(i))
		}
		return lease, nil
	case tensor.Message_Which_gradientAck:
		r := must(root.GradientAck())
		return protocol.Ack{Verdict: protocol.Verdict(r.Verdict()), Detail: must(r.Detail())}, nil
	case tensor.Message_Which_snapshotRequest:
		return protocol.SnapshotRequest{Step: must(root.SnapshotRequest()).Step()}, nil
	case tensor.Message_Which_runFinished:
		r := must(root.RunFinished())
		return protocol.Finished{Steps: r.Steps(), ParametersHash: must(protocol.ParseHash("parametersHash",
			must(r.ParametersHash()))), Incidents: r.Incidents(), Stopped: must(r.Stopped())}, nil
	case tensor.Message_Which_leave:
		return protocol.Left{Reason: must(must(root.Leave()).Reason())}, nil
	case tensor.Message_Which_errorReply:
		r := must(root.ErrorReply())
		return &protocol.Error{Action: protocol.Action(r.Action()), Detail: must(r.Detail()),
			Refused: protocol.Kind(r.Refused()), RetryAfter: r.RetryAfter()}, nil
	}
	return nil, fmt.Errorf("%v is not a reply of an orchestrator", root.Which())
}
