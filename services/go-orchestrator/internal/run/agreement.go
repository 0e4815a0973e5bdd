package run

import (
	"slices"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// agreement is which parameters are the run's: the hash after each step, as far as the workers have
// agreed on it.
//
// The orchestrator never holds parameters, so it learns hashes only from workers. Those before each
// committed step are in the ledger. The hash after the last one, of the head, is unknown until
// decide accepts one of the reported hashes; no step is closed before that, because the next sum
// could come from wrong parameters. It is also known from a checkpoint of that step: hashes of
// checkpoints were agreed on beforehand.
type agreement struct {
	history  []committedStep // by step: what the ledger says of it
	headHash *protocol.Hash  // of the parameters after all committed steps; nil until it is agreed on
	// What the workers that hold the head logged after the last committed step.
	headFigures map[string]ledger.Float

	// For the head, one report for each different hash, in the order of the first; empty once the
	// head is known. A report counts even if its worker has left by then.
	reportedHashes []hashReport
	// Those of earlier ties for the same head: their workers were sent to compute again, and are
	// judged when it is known.
	contestedHashes []hashReport
	// Since the process was started: the second one shows that the computation is not deterministic.
	ties int

	// The newest parameters that were agreed on: what run.json, the status and the end of the run
	// report.
	agreedSteps uint64
	agreedHash  protocol.Hash
}

// committedStep is what is remembered of a step in the ledger: enough to recognize its sum when it
// is computed again.
type committedStep struct {
	aggregate protocol.Hash
	params    protocol.Hash // before the step
}

// hashReport is a hash that workers report for the parameters after the last committed step.
type hashReport struct {
	hash    protocol.Hash
	workers []uint32
	figures []protocol.Figure // that came with it
}

// committed is how many steps are in the ledger.
func (a *agreement) committed() uint64 { return uint64(len(a.history)) }

// reference returns the hash of the run's parameters after that many steps, as far as it is known.
func (a *agreement) reference(step uint64) (protocol.Hash, bool) {
	switch {
	case step < a.committed():
		return a.history[step].params, true
	case step == a.committed() && a.headHash != nil:
		return *a.headHash, true
	}
	return protocol.Hash{}, false
}

// agree makes the hash that of the head.
func (a *agreement) agree(hash protocol.Hash) {
	a.headHash = &hash
	a.agreedSteps, a.agreedHash = a.committed(), hash
	a.reportedHashes, a.contestedHashes = nil, nil
}

// append adds a committed step. The parameters before it are agreed on, or it could not have been
// closed; those after it nobody has reported yet.
func (a *agreement) append(step committedStep) {
	a.agreedSteps, a.agreedHash = a.committed(), step.params
	a.history = append(a.history, step)
	a.headHash, a.headFigures, a.reportedHashes, a.contestedHashes = nil, nil, nil, nil
}

// verify compares a worker's parameters with those of the run after as many steps. Where nobody
// knows these yet, the worker's hash is noted as a report (see decide) and passes until it is
// decided on, so that a right majority does not have to wait.
func (a *agreement) verify(w *worker) bool {
	if reference, known := a.reference(w.step); known {
		return reference == w.hash
	}
	if w.needsSnapshot {
		return false
	}
	if !a.hasReported(w) {
		at := slices.IndexFunc(a.reportedHashes, func(r hashReport) bool { return r.hash == w.hash })
		if at < 0 {
			at = len(a.reportedHashes)
			a.reportedHashes = append(a.reportedHashes, hashReport{hash: w.hash})
		}
		report := &a.reportedHashes[at]
		report.workers = append(report.workers, w.id)
		if len(report.figures) == 0 {
			report.figures = w.figures
		}
	}
	return true
}

func (a *agreement) hasReported(w *worker) bool {
	return slices.ContainsFunc(a.reportedHashes, func(r hashReport) bool { return slices.Contains(r.workers, w.id) })
}

// decision says what follows from the reported hashes.
type decision int

const (
	undecided decision = iota // more reports are to be waited for
	decided                   // one of the hashes is the run's
	tied                      // nobody can say which of several is
)

// decide says which of the reported hashes is that of the run's parameters: the one that most
// workers hold. It is a pure function, and at least one hash must have been reported.
//
// A majority of all workers, of those too that have not reported yet (outstanding), decides at
// once: nothing that arrives later could change it. Without one, all are waited for, but not while
// everything else is: where the open step is summed up (stepComplete), those who have reported
// decide alone.
func decide(reports []hashReport, outstanding int, stepComplete bool) (decision, hashReport) {
	leading, voters, tie := reports[0], 0, false
	for _, r := range reports {
		voters += len(r.workers)
	}
	for _, r := range reports[1:] {
		switch {
		case len(r.workers) > len(leading.workers):
			leading, tie = r, false
		case len(r.workers) == len(leading.workers):
			tie = true
		}
	}
	majority := 2*len(leading.workers) > voters+outstanding
	switch {
	case !majority && outstanding > 0 && !stepComplete:
		return undecided, hashReport{}
	case tie:
		return tied, hashReport{}
	}
	return decided, leading
}
