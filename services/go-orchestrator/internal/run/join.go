package run

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

func (m *Machine) onJoin(e JoinAsked) {
	if m.state == Stopped {
		m.refuse(e.Peer, e.Request, protocol.KindJoinRequest, m.stopping(protocol.KindJoinRequest))
		return
	}
	if w := m.find(e.Peer); w != nil {
		m.refuse(e.Peer, e.Request, protocol.KindJoinRequest,
			protocol.Errorf(protocol.FixRequest, "this connection has joined already, as worker %d; open another one for another worker", w.id))
		return
	}
	join := e.Join
	join.WorkerName, join.Training = strings.ToValidUTF8(join.WorkerName, "?"), strings.ToValidUTF8(join.Training, "?")
	if err := m.admit(&join); err != nil {
		m.note(slog.LevelWarn, "refused a worker", "worker", join.WorkerName, "action", err.Action.String(), "reason", err.Detail)
		m.refuse(e.Peer, e.Request, protocol.KindJoinRequest, err)
		return
	}
	m.adopt(&join)
	m.lastID++
	m.met = true
	w := &worker{id: m.lastID, peer: e.Peer, name: join.WorkerName, pid: join.ProcessID, step: join.Step, hash: join.ParametersHash,
		beat: join.Heartbeat, heard: m.now, answered: m.now}
	m.names[w.id] = w.name
	reference, known := m.reference(w.step)
	w.sound = known && reference == w.hash
	// One that comes back is brought on by the aggregates since then; a new one is given the state, which is one message.
	back := join.RunID != "" && m.reachable(w.step)
	w.lost = known && !w.sound || w.step < m.step.number && !back
	m.commit(&ledger.Worker{ID: w.id, Name: w.name, PID: w.pid, Software: strings.ToValidUTF8(join.Software, "?"), Step: w.step, Time: m.now.UTC()})
	m.workers = append(m.workers, w)
	m.note(slog.LevelInfo, "worker joined", "id", w.id, "worker", w.name, "pid", w.pid, "holds_step", w.step, "open_step", m.step.number, "workers", len(m.workers))
	if join.Software != m.software {
		m.note(slog.LevelWarn, "worker runs other software than the first one; its parameters may differ in the last bits",
			"id", w.id, "worker", w.name, "software", join.Software, "first", m.software)
	}
	m.send(e.Peer, e.Request, protocol.Joined{
		RunID: m.config.RunID, WorkerID: w.id, Settings: m.config.Settings, Step: m.step.number, TotalSteps: m.totalSteps(),
	})
}

// admit says why a worker cannot take part, or nil. The first worker that can fixes model, data and first parameters of the run.
func (m *Machine) admit(join *protocol.Join) *protocol.Error {
	if join.Version != protocol.Version {
		return protocol.Errorf(protocol.Stop, "the worker speaks protocol version %d and this orchestrator %d; use the same release of both", join.Version, protocol.Version)
	}
	if err := checkLengths(join); err != nil {
		return err
	}
	if _, is := m.quarantined[join.WorkerName]; is {
		return m.inQuarantine(join.WorkerName)
	}
	if join.RunID != "" && join.RunID != m.config.RunID {
		return protocol.Errorf(protocol.Stop, "the worker belongs to run %s; this is run %s; start it anew, or give it the address of its own orchestrator", join.RunID, m.config.RunID)
	}
	if m.layout == nil {
		return m.begin(join)
	}
	if difference := firstDifference(m.layout.Specs, join.Parameters); difference != "" {
		return protocol.Errorf(protocol.Stop, "the worker's model is not that of the run: %s; start all workers with the same script and arguments", difference)
	}
	if join.Dataset.Hash != m.dataset.Hash || join.Dataset.TrainSamples != m.dataset.TrainSamples {
		return protocol.Errorf(protocol.Stop, "the worker's data is not that of the run: %s with %d training samples and hash %s, where the run has %s with %d and %s; point all workers to the same data, read with the same options (a table in a run of a release before columns were standardised one by one needs normalise=all)",
			join.Dataset.Name, join.Dataset.TrainSamples, join.Dataset.Hash.Short(), m.dataset.Name, m.dataset.TrainSamples, m.dataset.Hash.Short())
	}
	if join.Step > m.committed() {
		return m.ahead(join)
	}
	if err := m.computesAlike(join); err != nil {
		return err
	}
	// One that comes back after it was told to drop its parameters is given others; a new one has to begin as the run did.
	if reference, known := m.reference(join.Step); known && reference != join.ParametersHash && join.RunID == "" {
		return protocol.Errorf(protocol.Stop, "the worker's parameters after %d steps have hash %s, those of the run %s; use the same seed, script, torch build and kind of processor",
			join.Step, join.ParametersHash.Short(), reference.Short())
	}
	return nil
}

func (m *Machine) ahead(join *protocol.Join) *protocol.Error {
	return protocol.Errorf(protocol.Stop, "the worker holds %d steps, but the ledger of run %s only %d: the worker is of another run, or the ledger is an older copy; put back the right run directory, or start the worker anew",
		join.Step, m.config.RunID, m.committed())
}

func (m *Machine) begin(join *protocol.Join) *protocol.Error {
	// A step needs one vector for each side of a sum, one that arrives and one that leaves.
	const vectors = 4
	layout, err := protocol.NewLayout(join.Parameters, uint64(m.config.MemoryBytes)/4)
	if err != nil {
		return protocol.Errorf(protocol.FixRequest, "%v", err)
	}
	if need := layout.Bytes() * vectors; need > m.config.MemoryBytes {
		return protocol.Errorf(protocol.Stop, "gradients of %d bytes need at least %d bytes of memory here, but --max-memory-bytes is %d; raise it",
			layout.Bytes(), need, m.config.MemoryBytes)
	}
	schedule, err := NewSchedule(m.config.Settings, join.Dataset.TrainSamples)
	if err != nil {
		return protocol.Errorf(protocol.Stop, "%v", err)
	}
	if join.Step > 0 {
		return m.ahead(join)
	}
	m.layout, m.schedule, m.dataset, m.software = layout, schedule, join.Dataset, join.Software
	m.computation.say(join)
	m.tip = &join.ParametersHash
	m.agreed.hash = join.ParametersHash
	m.started = m.now
	m.state = Running
	// Where every worker's parameters may be wrong, the initial ones have to be somewhere.
	m.saving.wanted = m.takesCheckpoints()
	m.note(slog.LevelInfo, "run begins", "run", m.config.RunID, "parameters", len(layout.Specs), "elements", layout.Elements(),
		"dataset", join.Dataset.Name, "train_samples", join.Dataset.TrainSamples, "steps", schedule.TotalSteps)
	m.commit(m.modelRecord())
	m.writeRecord()
	return nil
}

func (m *Machine) modelRecord() *ledger.Model {
	d := m.dataset
	record := &ledger.Model{
		Software: strings.ToValidUTF8(m.software, "?"), ParamsHash: *m.tip, EpochSteps: m.schedule.EpochSteps, TotalSteps: m.schedule.TotalSteps,
		Dataset: ledger.Dataset{Name: d.Name, Hash: d.Hash, TrainSamples: d.TrainSamples, HeldOutSamples: d.HeldOutSamples, Classes: d.Classes,
			Features: ledger.SpecOf(d.Features), Labels: ledger.SpecOf(d.Label)},
		Training: m.computation.training, Arithmetic: strings.ToValidUTF8(m.computation.arithmetic, "?"), Fingerprints: m.computation.fingerprints,
	}
	for _, spec := range m.layout.Specs {
		record.Parameters = append(record.Parameters, ledger.SpecOf(spec))
	}
	return record
}

func firstDifference(run, worker []protocol.Spec) string {
	for i := range min(len(run), len(worker)) {
		if !run[i].Equal(worker[i]) {
			return fmt.Sprintf("parameter %d is %s, where the run has %s", i, worker[i], run[i])
		}
	}
	if len(run) != len(worker) {
		return fmt.Sprintf("it has %d parameters, where the run has %d", len(worker), len(run))
	}
	return ""
}

func (m *Machine) onLeave(e LeaveAsked) {
	w := m.find(e.Peer)
	if e.Leave.Broken != "" {
		m.onBroken(w, cut(strings.ToValidUTF8(e.Leave.Broken, "?"), protocol.MaxBroken))
		w = m.find(e.Peer)
	}
	if w != nil {
		// A request for work that is held back is withdrawn by this: it gets no answer of its own.
		m.note(slog.LevelInfo, "worker leaves", "id", w.id, "worker", w.name, "reason", strings.ToValidUTF8(e.Leave.Reason, "?"), "workers", len(m.workers)-1)
		m.remove(w)
	}
	m.send(e.Peer, e.Request, protocol.Left{Reason: "as you asked"})
}

// onBroken is told how a script breaks the promise of the same bits, by the worker that runs it.
func (m *Machine) onBroken(w *worker, detail string) {
	id := uint32(nobody)
	if w != nil {
		id = w.id
	}
	m.incident(ledger.Script, 0, 0, id, detail)
	m.breaks(detail)
}

func (m *Machine) onGone(e PeerGone) {
	delete(m.barred, e.Peer)
	if w := m.find(e.Peer); w != nil {
		level := slog.LevelWarn
		if m.state == Finished || m.state == Stopped {
			level = slog.LevelInfo
		}
		m.note(level, "worker is gone", "id", w.id, "worker", w.name, "reason", e.Reason, "workers", len(m.workers)-1)
		m.remove(w)
	}
}

// remove frees what a worker had; settle gives it to others.
func (m *Machine) remove(w *worker) {
	m.workers = slices.DeleteFunc(m.workers, func(other *worker) bool { return other == w })
	m.free(w)
}

// free gives up a worker's leases.
func (m *Machine) free(w *worker) {
	for i := range m.step.shards {
		s := &m.step.shards[i]
		if s.owner == w.id && !m.step.tree.Has(uint32(i)) {
			s.owner = 0
		}
		s.letGo(w.id)
	}
	for _, d := range m.step.disputes {
		if d.third == w.id {
			d.third = 0
		}
	}
	if m.donor == w {
		m.donor = nil
	}
}

// notJoined says why a connection that is no worker's may not ask.
func (m *Machine) notJoined(peer Peer) *protocol.Error {
	if why, is := m.barred[peer]; is {
		return why
	}
	return protocol.Errorf(protocol.FixRequest, "this connection has not joined the run; send a JoinRequest first")
}
