package run

import (
	"fmt"
	"log/slog"
	"math"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
)

// onUpdate keeps the first result of shards for the open step's sum, and compares any further one
// with the first.
func (m *Machine) onUpdate(e UpdateReceived) {
	const kind = protocol.KindGradientUpdate
	gradients := e.Update.Gradients
	w := m.roster.find(e.Peer)
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
		m.step.received(w.id, node, m.now)
		m.step.tree.Insert(&tree.Contribution{Node: node, Worker: w.id, Digest: e.Update.Digest, Reports: e.Update.Reports,
			Unchecked: e.Update.Unchecked}, gradients)
	} else {
		if gradients != nil {
			gradients.Release()
		}
		level := slog.LevelWarn
		switch verdict {
		case protocol.Conflict:
			level = slog.LevelError
		case protocol.Duplicate, protocol.Stale:
			level = slog.LevelInfo // the usual end of a second lease
		}
		m.note(level, "gradient update was not accepted", "verdict", verdict.String(), "id", w.id, "worker", w.name,
			"step", e.Update.Step, "detail", detail)
	}
	w.answered = m.now
	m.send(e.Peer, e.Request, protocol.Ack{Verdict: verdict, Detail: detail})
	m.compared(w, node, verdict, &e.Update)
	if verdict == protocol.Refused && e.Update.NotFinite {
		m.onNotFinite(w.id, node, detail)
	}
}

// onNotFinite ends the run when a second worker computes NaN or Inf for the same shards: then it is
// not the fault of one machine, and any further worker would fail like the two.
func (m *Machine) onNotFinite(id uint32, node tree.Node, detail string) {
	for number := node.First; number < min(node.First+node.Count, m.config.Settings.Shards); number++ {
		s := &m.step.shards[number]
		if s.notFinite != nobody && s.notFinite != id {
			m.halt(fmt.Sprintf("training diverges: %s; worker %d (%s) had the same result before; "+
				"lower the learning rate, clip the gradient, or look at these samples", detail, s.notFinite,
				m.roster.names[s.notFinite]))
			return
		}
		s.notFinite = id
	}
}

// judge says what an update is to the open step. Only an Accepted one may touch the sum.
func (m *Machine) judge(w *worker, u *protocol.Update) (protocol.Verdict, string) {
	refused := func(format string, args ...any) (protocol.Verdict, string) {
		return protocol.Refused, fmt.Sprintf("worker %d (%s): ", w.id, w.name) + fmt.Sprintf(format, args...)
	}
	switch {
	case u.Step < m.step.number:
		if earlier := m.retention.contradicted(u); earlier != nil {
			return protocol.Conflict, fmt.Sprintf(
				"step %d is closed; %s arrived with different bits from worker %d than now from worker %d (%s)",
				u.Step, earlier.Node, earlier.Worker, w.id, w.name)
		}
		return protocol.Stale, fmt.Sprintf("step %d is closed; step %d is open", u.Step, m.step.number)
	case m.end.draining:
		return protocol.Stale, "the orchestrator is stopping"
	case m.end.stop != nil && u.Step == m.end.stop.Steps:
		return protocol.Stale, fmt.Sprintf("the run ended after %d steps: %s", m.end.stop.Steps, m.end.stop.Reason)
	case u.Step > m.step.number || u.Step >= m.totalSteps():
		return protocol.TooEarly, fmt.Sprintf("step %d is not open; the run is at step %d of %d", u.Step, m.step.number,
			m.totalSteps())
	case u.Refusal != "":
		return refused("%s of step %d: %s", tree.Node{First: u.FirstShard, Count: u.ShardCount}, u.Step, u.Refusal)
	case w.needsSnapshot || w.step != u.Step || !w.verified:
		return refused("it reported parameters of step %d and sends gradients of step %d; it must ask for work first", w.step,
			u.Step)
	}
	node := tree.Node{First: u.FirstShard, Count: u.ShardCount}
	if err := node.Check(m.config.Settings.Shards); err != nil {
		return refused("%v", err)
	}
	if len(u.Reports) != int(node.Count) {
		return refused("%s come with %d reports; each shard needs one", node, len(u.Reports))
	}
	for i, report := range u.Reports {
		if err := m.checkReport(u.Step, node.First+uint32(i), report); err != nil {
			u.NotFinite = math.IsNaN(report.LossSum) || math.IsInf(report.LossSum, 0)
			return refused("step %d: %v", u.Step, err)
		}
	}
	contribution := &tree.Contribution{Node: node, Digest: u.Digest, Reports: u.Reports}
	switch outcome, earlier := m.step.tree.Compare(contribution); outcome {
	case tree.Same:
		return protocol.Duplicate, fmt.Sprintf("%s already arrived from worker %d", node, earlier.Worker)
	case tree.Differs:
		return protocol.Conflict, fmt.Sprintf(
			"%s already arrived with different bits from worker %d; those of worker %d (%s) are dropped",
			node, earlier.Worker, w.id, w.name)
	case tree.Overlaps:
		return protocol.Stale, fmt.Sprintf(
			"%s overlap %s, which arrived from worker %d; ask for work to learn what is missing",
			node, earlier.Node, earlier.Worker)
	}
	if err := m.step.checkSummed(u.Reports); err != nil {
		return refused("%v", err)
	}
	return protocol.Accepted, ""
}

// maxWeight leaves room for the weights of all shards of a step to add up to a finite float64.
const maxWeight = math.MaxFloat64 / float64(tensor.MaxShards)

// checkReport says what is wrong with the report of a shard; nil where nothing is.
func (m *Machine) checkReport(step uint64, shard uint32, report protocol.Report) error {
	samples := m.identity.schedule.ShardSamples(step, shard)
	switch {
	case report.Shard != shard:
		return fmt.Errorf("the report for shard %d is where that for shard %d is expected", report.Shard, shard)
	case uint64(report.Samples) != samples:
		return fmt.Errorf("shard %d reports %d samples; it has %d", shard, report.Samples, samples)
	case math.IsNaN(report.LossSum) || math.IsInf(report.LossSum, 0):
		return fmt.Errorf("the loss of shard %d is %v", shard, report.LossSum)
	case !(report.Weight >= 0 && report.Weight <= maxWeight):
		return fmt.Errorf("the weight of shard %d is %v; it must be a number from 0 to %.0e", shard, report.Weight, maxWeight)
	case samples == 0 && report.Weight != 0:
		return fmt.Errorf("the weight of shard %d is %v, but the shard has no samples; it must be 0", shard, report.Weight)
	}
	return nil
}
