package simulation

import (
	"time"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
)

// Each orchestrator meets a stranger before any worker: one with a certificate of another name,
// which the handshake lets in. It draws no lots and leaves nothing in the history, so the digest of
// the histories is the one that they had without it.

// stranger is its connection: no worker's.
const stranger run.Peer = 1 << 62

// meetStranger lets it try what would make the run its own.
func (o *orchestrator) meetStranger() {
	w := o.world
	certificate := "mallory"
	if w.sabotage == UncheckedName {
		certificate = ""
	}
	hash := protocol.Hash{6, 6, 6}
	join := protocol.Join{Version: tensor.ProtocolVersion, WorkerName: "worker-1", Software: "the stranger's",
		ParametersHash: hash, ParametersContentHash: hash, ProcessID: 666, Heartbeat: time.Millisecond,
		Parameters: []protocol.Spec{{Name: "q", DType: protocol.Float32, Shape: []uint64{uint64(w.elements) + 1}}},
		Dataset:    protocol.Dataset{Name: "the stranger's", Hash: hash, TrainSamples: 1}}
	before := len(o.machine.Status().Workers)
	for _, event := range []run.Event{
		run.JoinRequested{Peer: stranger, Join: join, Certificate: certificate},
		run.WorkRequested{Peer: stranger, Work: protocol.Work{ParametersHash: hash, Stop: "the stranger says so"}},
		run.LeaveRequested{Peer: stranger, Leave: protocol.Leave{Broken: "it draws lots"}},
		run.PeerSeen{Peer: stranger},
		run.PeerDisconnected{Peer: stranger, Reason: "closed"},
	} {
		effects := o.machine.Handle(w.clock.now, event)
		for _, effect := range effects {
			if send, is := effect.(run.Send); is && send.Peer == stranger && !refuses(send.Reply) {
				w.violate("a stranger was answered with %T", send.Reply)
			}
		}
		o.carryOut(effects)
	}
	if after := len(o.machine.Status().Workers); after != before {
		w.violate("a stranger has changed who is in the run: %d workers, then %d", before, after)
	}
}

// refuses reports whether a reply gives nothing away.
func refuses(reply protocol.Reply) bool {
	switch reply.(type) {
	case *protocol.Error, protocol.Left:
		return true
	}
	return false
}
