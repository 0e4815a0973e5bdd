package run

import (
	"maps"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
)

// Status is what people and dashboards see of a run.
type Status struct {
	RunID     string `json:"run_id"`
	State     State  `json:"state"`
	Step      uint64 `json:"step"`      // the open one
	Committed uint64 `json:"committed"` // steps in the ledger
	// The open step is one of them: it is being recomputed.
	Replaying        bool                    `json:"replaying"`
	TotalSteps       uint64                  `json:"total_steps"`
	Epoch            uint32                  `json:"epoch"`
	Loss             ledger.Float            `json:"loss"`    // of the last step that was applied
	Figures          map[string]ledger.Float `json:"figures"` // that the script logged in that step
	ParamsHash       string                  `json:"params_hash"`
	Workers          []WorkerStatus          `json:"workers"`
	SamplesPerSecond ledger.Float            `json:"samples_per_second"` // over the last steps
	// Shards leased to a further worker because the first was late, since the start of the process.
	SecondLeases uint64 `json:"second_leases"`
	// Committed steps that were recomputed, since the start of the process.
	RecomputedSteps uint64      `json:"recomputed_steps"`
	ResumedFrom     *Resumption `json:"resumed_from"` // as in run.json
	Incidents       uint64      `json:"incidents"`    // in the ledger
	// Why the last checkpoint could not be written; "" when it was.
	CheckpointError string `json:"checkpoint_error"`
	// Why the run ends or ended before its last step; "" where it does not.
	Stopped string `json:"stopped"`
}

// WorkerStatus is one worker of a Status.
type WorkerStatus struct {
	ID      uint32   `json:"id"`
	Name    string   `json:"name"`
	PID     uint32   `json:"pid"`
	Step    uint64   `json:"step"`
	Silent  bool     `json:"silent"`  // no heartbeat for a while
	Hanging bool     `json:"hanging"` // nothing but heartbeats for a while
	Shards  []uint32 `json:"shards"`  // of the open step, not yet submitted
}

// Status of the run now.
func (m *Machine) Status() Status {
	s := Status{
		RunID: m.config.RunID, State: m.state, Step: m.step.number, Committed: m.agreement.committed(),
		Replaying: m.replaying(), TotalSteps: m.totalSteps(),
		Loss: m.figures.loss, Figures: maps.Clone(m.figures.logged), SamplesPerSecond: m.figures.rate.perSecond(), SecondLeases: m.figures.secondLeases,
		Workers:         []WorkerStatus{},
		RecomputedSteps: m.figures.recomputed, ResumedFrom: m.figures.resumption, Incidents: m.figures.incidents,
		Stopped:         m.end.reason(),
		CheckpointError: m.retention.saving.failure,
	}
	if m.identity.layout != nil {
		s.ParamsHash = m.agreement.agreedHash.String()
		s.Epoch, _ = m.identity.schedule.Locate(min(s.Step, max(1, s.TotalSteps)-1))
	}
	for _, w := range m.roster.workers {
		s.Workers = append(s.Workers, WorkerStatus{w.id, w.name, w.pid, w.step, w.silent, w.hanging,
			append([]uint32{}, m.step.unfinished(w.id)...)})
	}
	return s
}
