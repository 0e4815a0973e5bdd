package run

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// computation is what the workers of a run must have in common to compute the same bits. What a worker does not say is not compared.
type computation struct {
	training     string // how a step changes the parameters, as JSON
	arithmetic   string // level that it is pinned to
	fingerprints map[string]protocol.Hash
	fixed        bool // a worker of this process's time has said how it trains: no change is taken after that
}

// checkLengths refuses texts that are longer than the schema allows.
func checkLengths(join *protocol.Join) *protocol.Error {
	for _, text := range []struct {
		name, value string
		most        int
	}{
		{"workerName", join.WorkerName, int(tensor.MaxWorkerNameBytes)}, {"software", join.Software, int(tensor.MaxSoftwareBytes)},
		{"training", join.Training, int(tensor.MaxTrainingBytes)}, {"arithmetic", join.Arithmetic, int(tensor.MaxArithmeticBytes)},
	} {
		if err := tooLong(text.name, text.value, text.most); err != nil {
			return err
		}
	}
	if len(join.Fingerprints) > int(tensor.MaxFingerprints) {
		return protocol.Errorf(protocol.FixRequest, "the worker has %d fingerprints; it may have %d", len(join.Fingerprints), int(tensor.MaxFingerprints))
	}
	for _, given := range join.Fingerprints {
		if err := tooLong("the operator of a fingerprint", given.Operator, int(tensor.MaxOperatorBytes)); err != nil {
			return err
		}
	}
	return nil
}

// computesAlike says why a worker would compute different bits than the run, or nil.
func (m *Machine) computesAlike(join *protocol.Join) *protocol.Error {
	if err := m.trainsAlike(join); err != nil {
		return err
	}
	difference := m.otherArithmetic(join)
	if difference == "" {
		return nil
	}
	if !m.config.Strict {
		m.note(slog.LevelWarn, "worker computes differently from the run; its bits may differ", "worker", join.WorkerName, "difference", difference)
		return nil
	}
	return protocol.Errorf(protocol.Stop, "the worker computes differently from the run: %s; pin its arithmetic to that of the run (--arithmetic), use the same torch build, or continue with --allow-nondeterminism", difference)
}

func (m *Machine) trainsAlike(join *protocol.Join) *protocol.Error {
	run, worker := m.identity.computation.training, join.Training
	if run == "" || worker == "" || run == worker {
		return nil
	}
	difference := trainingDifference(run, worker)
	switch {
	case !m.config.TakeChanges:
		return protocol.Errorf(protocol.Stop, "the worker trains differently from the run: %s; use the run's value, or accept the new one with --take-changes", difference)
	case m.identity.computation.fixed:
		return protocol.Errorf(protocol.Stop, "the worker trains differently from the workers that joined before it: %s; start all workers with the same script and arguments", difference)
	case !m.holdsTip():
		return protocol.Errorf(protocol.Stop, "the worker trains differently from the run: %s; the change cannot be accepted now, because the newest checkpoint is of step %d and the %d steps after it have to be recomputed as they were: "+
			"resume without the change, stop the run with SIGTERM so that it takes a last checkpoint, and then resume with --take-changes", difference, m.retention.newestCheckpointStep(), m.agreement.committed()-m.retention.newestCheckpointStep())
	}
	return nil
}

// holdsTip says whether the run can go on from exactly the last committed step.
func (m *Machine) holdsTip() bool {
	return m.retention.newestCheckpointStep() == m.agreement.committed()
}

// newestStep is that of the newest checkpoint; 0 where there is none.
func (m *Machine) newestStep() uint64 {
	if newest := m.retention.newestCheckpoint(); newest != nil {
		return newest.Step
	}
	return 0
}

// otherArithmetic says in what a worker's arithmetic differs from that of the run; empty in nothing that both have said.
func (m *Machine) otherArithmetic(join *protocol.Join) string {
	if run := m.identity.computation.arithmetic; run != "" && join.Arithmetic != "" && run != join.Arithmetic {
		return fmt.Sprintf("its arithmetic is pinned to %s, that of the run to %s", join.Arithmetic, run)
	}
	var differ []string
	for _, given := range join.Fingerprints {
		if hash, known := m.identity.computation.fingerprints[given.Operator]; known && hash != given.Hash {
			differ = append(differ, given.Operator)
		}
	}
	if len(differ) == 0 {
		return ""
	}
	slices.Sort(differ)
	return fmt.Sprintf("%s of the same inputs give different bits", strings.Join(differ, ", "))
}

// adopt makes what an admitted worker says the run's, where nobody has said it before, or where a change is to be taken.
func (m *Machine) adopt(join *protocol.Join) {
	c := &m.identity.computation
	if join.Training != "" && join.Training != c.training {
		m.commit(&ledger.Change{What: ledger.ChangedTraining, From: c.training, To: join.Training, Step: m.agreement.committed(), Time: m.now.UTC()})
		m.note(slog.LevelWarn, "the run is trained differently from now on", "step", m.agreement.committed(), "change", trainingDifference(c.training, join.Training))
		c.training = join.Training
	}
	c.say(join)
}

// say takes what the run does not know yet.
func (c *computation) say(join *protocol.Join) {
	c.fixed = c.fixed || join.Training != ""
	if c.training == "" {
		c.training = join.Training
	}
	if c.arithmetic == "" {
		c.arithmetic = join.Arithmetic
	}
	if len(c.fingerprints) == 0 && len(join.Fingerprints) > 0 {
		c.fingerprints = map[string]protocol.Hash{}
		for _, given := range join.Fingerprints {
			c.fingerprints[given.Operator] = given.Hash
		}
	}
}

// trainingDifference names the first key whose values differ, with both.
func trainingDifference(run, worker string) string {
	var was, is any
	if decodeNumbers(run, &was) != nil || decodeNumbers(worker, &is) != nil {
		was, is = run, worker
	}
	key, was, is := difference("", was, is)
	if key == "" {
		key = "training"
	}
	return fmt.Sprintf("%s is %s, but the run has %s", key, brief(is), brief(was))
}

func decodeNumbers(text string, to *any) error {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode(to)
}

// absent stands for a key that is not there.
type absent struct{}

// difference goes down to the first values that differ, keys in order.
func difference(key string, was, is any) (string, any, any) {
	a, both := was.(map[string]any)
	b, objects := is.(map[string]any)
	if both && objects {
		names := slices.Sorted(maps.Keys(a))
		for name := range b {
			if _, there := a[name]; !there {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			x, y := value(a, name), value(b, name)
			if !equal(x, y) {
				return difference(strings.TrimPrefix(key+"."+name, "."), x, y)
			}
		}
	}
	c, both := was.([]any)
	d, lists := is.([]any)
	if both && lists && len(c) == len(d) {
		for i := range c {
			if !equal(c[i], d[i]) {
				return difference(fmt.Sprintf("%s[%d]", key, i), c[i], d[i])
			}
		}
	}
	return key, was, is
}

func value(of map[string]any, name string) any {
	if v, there := of[name]; there {
		return v
	}
	return absent{}
}

func equal(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	_, noX := a.(absent)
	_, noY := b.(absent)
	return errX == nil && errY == nil && noX == noY && bytes.Equal(x, y)
}

// brief gives a value as JSON, or its beginning.
func brief(v any) string {
	if _, is := v.(absent); is {
		return "nothing"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return cut(string(text), 100)
}

// tooLong refuses a text that is longer than the schema allows.
func tooLong(name, text string, most int) *protocol.Error {
	if len(text) <= most {
		return nil
	}
	return protocol.Errorf(protocol.FixRequest, "%s has %d bytes; it may have %d", name, len(text), most)
}

// cut shortens a text to this many bytes.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return fmt.Sprintf("%s...", text[:most-3])
}
