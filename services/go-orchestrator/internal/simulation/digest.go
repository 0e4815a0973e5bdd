package simulation

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// Digests stand for the histories of a block of seeds: two builds with equal digests played equal
// histories.
type Digests struct {
	Bytes protocol.Hash // of everything that the histories hold
	// Of everything but the sentences in incidents, and what depends on their length.
	Decisions protocol.Hash
}

// DigestOf plays the histories of the seeds [first, first + count).
func DigestOf(first, count uint64) (Digests, error) {
	all, decisions := sha256.New(), sha256.New()
	for seed := first; seed < first+count; seed++ {
		history := Simulate(seed, "", nil)
		if err := json.NewEncoder(all).Encode(history); err != nil {
			return Digests{}, err
		}
		reworded, err := history.withoutWording()
		if err != nil {
			return Digests{}, fmt.Errorf("seed %d: %w", seed, err)
		}
		if err := json.NewEncoder(decisions).Encode(reworded); err != nil {
			return Digests{}, err
		}
	}
	return Digests{protocol.Hash(all.Sum(nil)), protocol.Hash(decisions.Sum(nil))}, nil
}

// withoutWording returns the history as it would be with any other sentences in incidents and in
// the log: without these, and without the ledger's positions and chain hashes, which depend on
// them.
func (h History) withoutWording() (History, error) {
	var ledger bytes.Buffer
	for _, line := range bytes.Split([]byte(h.Ledger), []byte("\n")) {
		var chained struct{ Record map[string]json.RawMessage }
		if json.Unmarshal(line, &chained) != nil || chained.Record == nil {
			continue // a commit slot
		}
		delete(chained.Record, "detail")
		if err := json.NewEncoder(&ledger).Encode(chained.Record); err != nil {
			return h, err
		}
	}
	h.Ledger = ledger.String()
	deliveries := h.Deliveries
	h.Deliveries = make([]Delivery, len(deliveries))
	for i, delivery := range deliveries {
		delivery.Acknowledged = 0
		h.Deliveries[i] = delivery
	}
	h.Acknowledged = make([]Acknowledgement, len(h.Acknowledged))
	h.Violations = make([]string, len(h.Violations)) // they quote the log
	return h, nil
}
