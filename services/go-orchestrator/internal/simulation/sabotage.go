package simulation

import (
	"fmt"
	"slices"
	"strings"

	"pangea.example/pangea/services/go-orchestrator/internal/run"
)

// Sabotage is a promise that is broken on purpose, to show that the checker notices.
type Sabotage string

// What can be sabotaged.
const (
	// Workers are answered before the ledger is written.
	LateCommit Sabotage = "late-commit"
	NoSync     Sabotage = "no-sync" // the ledger's file is never synced
	// The lowest bit of an element changes on the way to the sum.
	FlippedGradient     Sabotage = "flipped-gradient"
	UncheckedCheckpoint Sabotage = "unchecked-checkpoint" // a damaged checkpoint is loaded
	UncheckedState      Sabotage = "unchecked-state"      // a donor's state is not looked at
	UncheckedName       Sabotage = "unchecked-name"       // a worker joins under whatever name it likes
)

var sabotages = []Sabotage{LateCommit, NoSync, FlippedGradient, UncheckedCheckpoint, UncheckedState, UncheckedName}

// Sabotages names them all.
func Sabotages() string {
	names := make([]string, len(sabotages))
	for i, s := range sabotages {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

// Check refuses an unknown name; the empty one means no sabotage.
func (s Sabotage) Check() error {
	if s != "" && !slices.Contains(sabotages, s) {
		return fmt.Errorf("there is no sabotage %q; there are %s", s, Sabotages())
	}
	return nil
}

func commitsLast(effects []run.Effect) []run.Effect {
	var first, last []run.Effect
	for _, effect := range effects {
		if _, is := effect.(run.Commit); is {
			last = append(last, effect)
		} else {
			first = append(first, effect)
		}
	}
	return append(first, last...)
}
