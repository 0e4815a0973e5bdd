package run

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// computation is what the workers of a run must have in common to compute the same bits. What a
// worker does not report is not compared.
type computation struct {
	training     string // how a step changes the parameters, as JSON
	arithmetic   string // level that it is pinned to
	fingerprints map[string]protocol.Hash
	// A worker has reported how it trains since the process was started: no change is accepted after
	// that.
	fixed bool
}

// checkComputation says why a worker would compute different bits from the run, or nil.
func (m *Machine) checkComputation(join *protocol.Join) *protocol.Error {
	if err := m.checkTraining(join); err != nil {
		return err
	}
	difference := m.arithmeticDifference(join)
	if difference == "" {
		return nil
	}
	if !m.config.Strict {
		m.note(slog.LevelWarn, "worker computes differently from the run; its bits may differ", "worker", join.WorkerName,
			"difference", difference)
		return nil
	}
	return protocol.Errorf(protocol.Stop, "the worker computes differently from the run: %s; "+
		"pin its arithmetic to that of the run (--arithmetic), use the same torch build, "+
		"or continue with --allow-nondeterminism", difference)
}

// checkTraining refuses a training that differs from the run's, unless it is to be adopted. It
// cannot be while a worker trains as before, or while steps have to be recomputed: these must come
// out as the ledger has them.
func (m *Machine) checkTraining(join *protocol.Join) *protocol.Error {
	run, worker := m.identity.computation.training, join.Training
	if run == "" || worker == "" || run == worker {
		return nil
	}
	difference := trainingDifference(run, worker)
	newest, committed := m.retention.newestCheckpointStep(), m.agreement.committed()
	switch {
	case !m.config.TakeChanges:
		return protocol.Errorf(protocol.Stop,
			"the worker trains differently from the run: %s; use the run's value, or accept the new one with --take-changes",
			difference)
	case m.identity.computation.fixed:
		return protocol.Errorf(protocol.Stop, "the worker trains differently from the workers that joined before it: %s; "+
			"start all workers with the same script and arguments", difference)
	case newest != committed:
		return protocol.Errorf(protocol.Stop, "the worker trains differently from the run: %s; "+
			"the change cannot be accepted now, because the newest checkpoint is of step %d and the %d steps after it have to "+
			"be recomputed as they were: "+
			"resume without the change, stop the run with SIGTERM so that it takes a last checkpoint, "+
			"and then resume with --take-changes", difference, newest, committed-newest)
	}
	return nil
}

// arithmeticDifference says where a worker's arithmetic differs from that of the run; empty where
// nothing that both have reported does.
func (m *Machine) arithmeticDifference(join *protocol.Join) string {
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

// adopt makes what an admitted worker reports the run's, where nobody has reported it before or a
// change is to be accepted.
func (m *Machine) adopt(join *protocol.Join) {
	c := &m.identity.computation
	if join.Training != "" && join.Training != c.training {
		m.commit(&ledger.Change{What: ledger.ChangedTraining, From: c.training, To: join.Training,
			Step: m.agreement.committed(), Time: m.now.UTC()})
		m.note(slog.LevelWarn, "the run is trained differently from now on", "step", m.agreement.committed(),
			"change", trainingDifference(c.training, join.Training))
		c.training = join.Training
	}
	c.fillIn(join)
}

// fillIn takes what nobody has reported yet.
func (c *computation) fillIn(join *protocol.Join) {
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

// difference descends to the first values that differ, in the order of the keys.
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

// brief returns a value as JSON, or its beginning.
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

// cut shortens a text to this many bytes.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return fmt.Sprintf("%s...", text[:most-3])
}
