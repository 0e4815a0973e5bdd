package run

import (
	"fmt"
	"log/slog"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

func (m *Machine) onJoin(e JoinRequested) {
	if m.state == Stopped {
		m.refuse(e.Peer, e.Request, protocol.KindJoinRequest, m.stopping(protocol.KindJoinRequest))
		return
	}
	if w := m.roster.find(e.Peer); w != nil {
		m.refuse(e.Peer, e.Request, protocol.KindJoinRequest,
			protocol.Errorf(protocol.FixRequest,
				"this connection has already joined, as worker %d; open another one for another worker", w.id))
		return
	}
	join := e.Join
	err := impostor(e.Certificate, join.WorkerName)
	if err == nil {
		err = m.admit(&join)
	}
	if err != nil {
		m.note(slog.LevelWarn, "refused a worker", "worker", join.WorkerName, "action", err.Action.String(),
			"reason", err.Detail)
		m.refuse(e.Peer, e.Request, protocol.KindJoinRequest, err)
		return
	}
	m.adopt(&join)
	w := &worker{peer: e.Peer, name: join.WorkerName, pid: join.ProcessID, step: join.Step, hash: m.hashOf(&join),
		heartbeat: join.Heartbeat, lastSeen: m.now, answered: m.now}
	m.roster.add(w)
	reference, known := m.agreement.reference(w.step)
	w.verified = known && reference == w.hash
	// One that returns to the run catches up by the aggregates since then; a new one is given the
	// state, which is one message.
	returns := join.RunID != "" && m.reachable(w.step)
	w.needsSnapshot = known && !w.verified || w.step < m.step.number && !returns
	m.roster.newcomers.add(&ledger.Worker{ID: w.id, Name: w.name, PID: w.pid, Software: join.Software, Step: w.step,
		Time: m.now.UTC()}, m.now)
	m.note(slog.LevelInfo, "worker joined", "event", eventWorkerJoined, "id", w.id, "worker", w.name, "pid", w.pid,
		"holds_step", w.step, "open_step", m.step.number, "workers", len(m.roster.workers))
	if join.Software != m.identity.software {
		m.note(slog.LevelWarn,
			"worker runs different software from the first one; its parameters may differ in the last bits",
			"id", w.id, "worker", w.name, "software", join.Software, "first", m.identity.software)
	}
	m.send(e.Peer, e.Request, protocol.Joined{
		RunID: m.config.RunID, WorkerID: w.id, Settings: m.config.Settings, Step: m.step.number, TotalSteps: m.totalSteps(),
	})
}

// impostor refuses a worker under another name than that of its certificate: what becomes of a name
// (ties, quarantine) must depend on its owner alone.
func impostor(certificate, name string) *protocol.Error {
	if certificate == "" || certificate == AnyWorker || certificate == name {
		return nil
	}
	return protocol.Errorf(protocol.Stop, "the certificate is that of worker %.100q, which may not join as %.100q; "+
		"join under the name in the certificate (--name), or use the certificate of the other one", certificate, name)
}

// hashOf is the hash of the parameters that a worker brings, as the run hashes.
func (m *Machine) hashOf(join *protocol.Join) protocol.Hash {
	return join.HashBy(m.config.Settings.ContentHash)
}

// admit says why a worker cannot take part, or nil. The first worker that can fixes the model, the
// data and the initial parameters of the run.
func (m *Machine) admit(join *protocol.Join) *protocol.Error {
	if join.Version != tensor.ProtocolVersion {
		return protocol.Errorf(protocol.Stop,
			"the worker speaks protocol version %d and this orchestrator %d; use the same release of both",
			join.Version, tensor.ProtocolVersion)
	}
	if _, is := m.roster.quarantined[join.WorkerName]; is {
		return m.inQuarantine(join.WorkerName)
	}
	if join.RunID != "" && join.RunID != m.config.RunID {
		return protocol.Errorf(protocol.Stop,
			"the worker belongs to run %s; this is run %s; restart it, or give it the address of its own orchestrator",
			protocol.Foreign(join.RunID), m.config.RunID)
	}
	if m.identity.layout == nil {
		return m.begin(join)
	}
	if difference := firstDifference(m.identity.layout.Specs, join.Parameters); difference != "" {
		return protocol.Errorf(protocol.Stop,
			"the worker's model is not that of the run: %s; start all workers with the same script and arguments", difference)
	}
	if join.Dataset.Hash != m.identity.dataset.Hash || join.Dataset.TrainSamples != m.identity.dataset.TrainSamples {
		return m.otherData(join.Dataset)
	}
	if join.Step > m.agreement.committed() {
		return m.ahead(join)
	}
	if err := m.checkComputation(join); err != nil {
		return err
	}
	// One that returns after it was told to drop its parameters is given the right ones; a new one has
	// to begin as the run did.
	if reference, known := m.agreement.reference(join.Step); known && reference != m.hashOf(join) &&
		join.RunID == "" {
		return protocol.Errorf(protocol.Stop, "the worker's parameters after %d steps have hash %s, those of the run %s; "+
			"use the same seed, script, torch build and kind of processor",
			join.Step, m.hashOf(join).Short(), reference.Short())
	}
	return m.slowDown(join)
}

// otherData refuses a worker whose data is not that of the run.
func (m *Machine) otherData(worker protocol.Dataset) *protocol.Error {
	run := m.identity.dataset
	advice := "(a table in a run of a release before columns were standardised one by one needs normalise=all)"
	if worker.Name != run.Name && worker.TrainSamples == run.TrainSamples {
		advice = "(a script's own dataset is known by the name of its class, too: if only that was changed, give the " +
			"class its old __qualname__)"
	}
	return protocol.Errorf(protocol.Stop, "the worker's data is not that of the run: %s with %d training samples and "+
		"hash %s, but the run has %s with %d and %s; point all workers to the same data, read with the same options %s",
		protocol.Foreign(worker.Name), worker.TrainSamples, worker.Hash.Short(),
		protocol.Foreign(run.Name), run.TrainSamples, run.Hash.Short(), advice)
}

// ahead refuses a worker that holds more steps than the ledger: the two are of different runs, or
// the ledger has lost committed steps.
func (m *Machine) ahead(join *protocol.Join) *protocol.Error {
	return protocol.Errorf(protocol.Stop, "the worker holds %d steps, but the ledger of run %s only %d: "+
		"the worker belongs to another run, or the ledger is an older copy; "+
		"put back the right run directory, or restart the worker",
		join.Step, m.config.RunID, m.agreement.committed())
}

// begin takes model, data and initial parameters of the run from its first worker.
func (m *Machine) begin(join *protocol.Join) *protocol.Error {
	// A step needs one vector for each side of a sum, one that arrives and one that leaves.
	const vectors = 4
	layout, err := protocol.NewLayout(join.Parameters, uint64(m.config.MemoryBytes)/4)
	if err != nil {
		return protocol.Errorf(protocol.FixRequest, "%v", err)
	}
	if need := layout.Bytes() * vectors; need > m.config.MemoryBytes {
		return protocol.Errorf(protocol.Stop,
			"gradients of %d bytes need at least %d bytes of memory here, but --max-memory-bytes is %d; raise it",
			layout.Bytes(), need, m.config.MemoryBytes)
	}
	schedule, err := NewSchedule(m.config.Settings, join.Dataset.TrainSamples)
	if err != nil {
		return protocol.Errorf(protocol.Stop, "%v", err)
	}
	if join.Step > 0 {
		return m.ahead(join)
	}
	m.identity.layout, m.identity.schedule, m.identity.dataset, m.identity.software = layout, schedule, join.Dataset,
		join.Software
	m.identity.computation.fillIn(join)
	m.agreement.agree(m.hashOf(join))
	m.figures.started = m.now
	m.state = Running
	// A checkpoint of the initial parameters: after a tie all workers may have to drop theirs.
	if m.takesCheckpoints() {
		m.retention.saving.want(0)
	}
	m.note(slog.LevelInfo, "run begins", "run", m.config.RunID, "parameters", len(layout.Specs),
		"elements", layout.Elements(),
		"dataset", join.Dataset.Name, "train_samples", join.Dataset.TrainSamples, "steps", schedule.TotalSteps)
	m.commit(m.modelRecord())
	m.writeRecord()
	return nil
}

func (m *Machine) modelRecord() *ledger.Model {
	d := m.identity.dataset
	record := &ledger.Model{
		Software: m.identity.software, ParamsHash: *m.agreement.headHash,
		EpochSteps: m.identity.schedule.EpochSteps, TotalSteps: m.identity.schedule.TotalSteps,
		Dataset: ledger.Dataset{Name: d.Name, Hash: d.Hash, TrainSamples: d.TrainSamples, HeldOutSamples: d.HeldOutSamples,
			Classes:  d.Classes,
			Features: ledger.SpecOf(d.Features), Labels: ledger.SpecOf(d.Label)},
		Training: m.identity.computation.training, Arithmetic: m.identity.computation.arithmetic,
		Fingerprints: m.identity.computation.fingerprints,
	}
	for _, spec := range m.identity.layout.Specs {
		record.Parameters = append(record.Parameters, ledger.SpecOf(spec))
	}
	return record
}

// firstDifference says where the parameters of a worker's model differ first from those of the run;
// empty where they do not.
func firstDifference(run, worker []protocol.Spec) string {
	for i := range min(len(run), len(worker)) {
		if !run[i].Equal(worker[i]) {
			return fmt.Sprintf("parameter %d is %s, but the run has %s", i, worker[i], run[i])
		}
	}
	if len(run) != len(worker) {
		return fmt.Sprintf("it has %d parameters, but the run has %d", len(worker), len(run))
	}
	return ""
}
