package run

import (
	"fmt"
	"log/slog"
	"math"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
)

func (m *Machine) onUpdate(e UpdateCame) {
	const kind = protocol.KindGradientUpdate
	gradients := e.Update.Gradients
	w := m.find(e.Peer)
	if w == nil || m.state == Stopped {
		if gradients != nil {
			gradients.Release()
		}
		err := m.stopping(kind)
		if m.state != Stopped {
			err = m.notJoined(e.Peer)
		}
		m.refuse(e.Peer, e.Request, kind, err)
		return
	}
	verdict, detail := m.judge(w, &e.Update)
	node := tree.Node{First: e.Update.FirstShard, Count: e.Update.ShardCount}
	if verdict == protocol.Accepted {
		m.observe(w, node)
		m.overtaken(w, node)
		m.step.tree.Insert(&tree.Contribution{Node: node, Worker: w.id, Digest: e.Update.Digest, Reports: e.Update.Reports}, gradients)
	} else {
		if gradients != nil {
			gradients.Release()
		}
		level := slog.LevelWarn
		switch verdict {
		case protocol.Conflict:
			level = slog.LevelError
		case protocol.Duplicate, protocol.Stale:
			level = slog.LevelInfo // what a second lease ends with
		}
		m.note(level, "gradient update was not taken", "verdict", verdict.String(), "id", w.id, "worker", w.name, "step", e.Update.Step, "detail", detail)
	}
	w.answered = m.now
	m.send(e.Peer, e.Request, protocol.Ack{Verdict: verdict, Detail: detail})
	m.compared(w, node, verdict, &e.Update)
}

// judge says what an update is to the open step. Nothing but Accepted may touch the sum.
func (m *Machine) judge(w *worker, u *protocol.Update) (protocol.Verdict, string) {
	refused := func(format string, args ...any) (protocol.Verdict, string) {
		return protocol.Refused, fmt.Sprintf("worker %d (%s): ", w.id, w.name) + fmt.Sprintf(format, args...)
	}
	switch {
	case u.Step < m.step.number:
		if earlier := m.differs(u); earlier != nil {
			return protocol.Conflict, fmt.Sprintf("step %d is closed; %s came with other bits from worker %d than now from worker %d (%s)", u.Step, earlier.Node, earlier.Worker, w.id, w.name)
		}
		return protocol.Stale, fmt.Sprintf("step %d is closed; step %d is open", u.Step, m.step.number)
	case m.ending:
		return protocol.Stale, "the orchestrator is stopping"
	case u.Step > m.step.number || u.Step >= m.schedule.TotalSteps:
		return protocol.TooEarly, fmt.Sprintf("step %d is not open; the run is at step %d of %d", u.Step, m.step.number, m.schedule.TotalSteps)
	case u.Refusal != "":
		return refused("%s", u.Refusal)
	case w.lost || w.step != u.Step || !w.sound:
		return refused("it reported parameters of step %d and sends gradients of step %d; it must ask for work first", w.step, u.Step)
	}
	node := tree.Node{First: u.FirstShard, Count: u.ShardCount}
	if err := node.Check(m.config.Settings.Shards); err != nil {
		return refused("%v", err)
	}
	if len(u.Reports) != int(node.Count) {
		return refused("%s come with %d reports; each shard needs one", node, len(u.Reports))
	}
	for i, report := range u.Reports {
		shard := node.First + uint32(i)
		if report.Shard != shard {
			return refused("report %d is for shard %d; it must be for shard %d", i, report.Shard, shard)
		}
		if want := m.schedule.ShardSamples(u.Step, shard); uint64(report.Samples) != want {
			return refused("shard %d reports %d samples; it has %d", shard, report.Samples, want)
		}
		if math.IsNaN(report.LossSum) || math.IsInf(report.LossSum, 0) {
			return refused("the loss of shard %d is %v", shard, report.LossSum)
		}
	}
	contribution := &tree.Contribution{Node: node, Digest: u.Digest, Reports: u.Reports}
	switch outcome, earlier := m.step.tree.Compare(contribution); outcome {
	case tree.Same:
		return protocol.Duplicate, fmt.Sprintf("%s came already, from worker %d", node, earlier.Worker)
	case tree.Differs:
		return protocol.Conflict, fmt.Sprintf("%s came already with other bits from worker %d; those of worker %d (%s) are dropped", node, earlier.Worker, w.id, w.name)
	case tree.Overlaps:
		return protocol.Stale, fmt.Sprintf("%s overlap %s, which came from worker %d; ask for work to learn what is missing", node, earlier.Node, earlier.Worker)
	}
	return protocol.Accepted, ""
}
