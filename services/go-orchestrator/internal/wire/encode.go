package wire

import (
	"fmt"
	"strings"

	"capnproto.org/go/capnp/v3"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// Which pointer of its struct a bulk field is: the generated setters copy, so NewFrame's payloads
// are set by number. The tests read them back by name.
const (
	tensorData   = 2
	snapshotData = 1
)

// WriteTensor sets a tensor, or a piece of it that starts at byteOffset. data comes from
// Payload.At.
func WriteTensor(t tensor.Tensor, spec protocol.Spec, byteOffset uint64, data capnp.Ptr) error {
	if err := t.SetName(spec.Name); err != nil {
		return err
	}
	t.SetDtype(tensor.DataType(spec.DType))
	t.SetByteOffset(byteOffset)
	dims, err := t.NewShape(int32(len(spec.Shape)))
	if err != nil {
		return err
	}
	for i, dim := range spec.Shape {
		dims.Set(i, dim)
	}
	return capnp.Struct(t).SetPtr(tensorData, data)
}

// Encode makes the frame of a reply that fits one: all but aggregates and snapshots. released are
// regions of the receiver that may be written again; only replies with Releases have room for them.
func Encode(reply protocol.Reply, released ...uint32) (Frame, error) {
	return NewFrame(sizeHint(reply)+4*len(released), nil, func(root tensor.Message, _ Payload) error {
		root.SetType(tensor.MessageType(reply.Kind()))
		switch r := reply.(type) {
		case protocol.Joined:
			return writeJoined(root, r)
		case protocol.Lease:
			return writeLease(root, r, released)
		case protocol.Ack:
			ack, err := root.NewGradientAck()
			if err != nil {
				return err
			}
			ack.SetVerdict(tensor.Verdict(r.Verdict))
			if err := setList(ack.NewReleased, released); err != nil {
				return err
			}
			return ack.SetDetail(detail(r.Detail))
		case protocol.SnapshotRequest:
			request, err := root.NewSnapshotRequest()
			if err != nil {
				return err
			}
			request.SetStep(r.Step)
			return nil
		case protocol.Finished:
			finished, err := root.NewRunFinished()
			if err != nil {
				return err
			}
			finished.SetSteps(r.Steps)
			finished.SetIncidents(r.Incidents)
			if err := finished.SetStopped(detail(r.Stopped)); err != nil {
				return err
			}
			return finished.SetParametersHash(r.ParametersHash[:])
		case protocol.Left:
			leave, err := root.NewLeave()
			if err != nil {
				return err
			}
			return leave.SetReason(r.Reason)
		case *protocol.Error:
			return writeError(root, r)
		}
		return fmt.Errorf("a %s takes more than one frame", reply.Kind())
	})
}

// Releases reports whether a reply of one frame can say which regions are released.
func Releases(reply protocol.Reply) bool {
	switch reply.(type) {
	case protocol.Lease, protocol.Ack:
		return true
	}
	return false
}

func sizeHint(reply protocol.Reply) int {
	switch r := reply.(type) {
	case protocol.Lease:
		return 256 + 4*(len(r.Shards)+len(r.Separate))
	case protocol.Ack:
		return 256 + len(r.Detail)
	case *protocol.Error:
		return 256 + len(r.Detail)
	case protocol.Finished:
		return 256 + len(r.Stopped)
	}
	return 512
}

func writeJoined(root tensor.Message, r protocol.Joined) error {
	reply, err := root.NewJoinReply()
	if err != nil {
		return err
	}
	reply.SetWorkerId(r.WorkerID)
	reply.SetStep(r.Step)
	reply.SetTotalSteps(r.TotalSteps)
	if err := reply.SetRunId(r.RunID); err != nil {
		return err
	}
	settings, err := reply.NewSettings()
	if err != nil {
		return err
	}
	settings.SetSeed(r.Settings.Seed)
	settings.SetShards(r.Settings.Shards)
	settings.SetBatchSize(r.Settings.BatchSize)
	settings.SetEpochs(r.Settings.Epochs)
	settings.SetMinShardSamples(r.Settings.MinShardSamples)
	settings.SetDropLast(r.Settings.DropLast)
	settings.SetContentHash(tensor.ContentHash(r.Settings.ContentHash))
	return nil
}

func writeLease(root tensor.Message, r protocol.Lease, released []uint32) error {
	lease, err := root.NewShardLease()
	if err != nil {
		return err
	}
	lease.SetStep(r.Step)
	lease.SetEpoch(r.Epoch)
	lease.SetEpochStep(r.EpochStep)
	if err := setList(lease.NewShards, r.Shards); err != nil {
		return err
	}
	if err := setList(lease.NewSeparate, r.Separate); err != nil {
		return err
	}
	return setList(lease.NewReleased, released)
}

// setList makes a list and fills it.
func setList(makeList func(int32) (capnp.UInt32List, error), values []uint32) error {
	list, err := makeList(int32(len(values)))
	if err != nil {
		return err
	}
	for i, value := range values {
		list.Set(i, value)
	}
	return nil
}

func writeError(root tensor.Message, r *protocol.Error) error {
	reply, err := root.NewErrorReply()
	if err != nil {
		return err
	}
	reply.SetAction(tensor.ErrorAction(r.Action))
	reply.SetRefused(tensor.MessageType(r.Refused))
	reply.SetRetryAfter(r.RetryAfter)
	return reply.SetDetail(detail(r.Detail))
}

// detail cuts a sentence that repeats what peers have said, and may be as long as all of it.
func detail(text string) string {
	if len(text) > int(tensor.MaxDetailBytes) {
		text = text[:tensor.MaxDetailBytes]
	}
	return strings.ToValidUTF8(text, "")
}
