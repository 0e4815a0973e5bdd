package run

import (
	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/tree"
)

// figuresOf returns what the script logged about the shards of a step: the mean of each figure by
// the weights of the shards, which does not depend on which worker computed which shard. What is
// beyond the limit of a report is not shown.
func figuresOf(reports []protocol.Report) map[string]ledger.Float {
	figures := map[string]ledger.Float{}
	for _, report := range reports {
		for _, figure := range report.Figures {
			if _, known := figures[figure.Name]; known || len(figures) == int(tensor.MaxFigures) {
				continue
			}
			figures[figure.Name] = ledger.Float(tree.Mean(reports, valueOf(figure.Name)))
		}
	}
	return figures
}

// valueOf returns the function that finds a figure in a report.
func valueOf(name string) func(protocol.Report) (float64, bool) {
	return func(report protocol.Report) (float64, bool) {
		for _, figure := range report.Figures {
			if figure.Name == name {
				return figure.Value, true
			}
		}
		return 0, false
	}
}

// loggedAfter returns what workers logged when they applied a step.
func loggedAfter(figures []protocol.Figure) map[string]ledger.Float {
	logged := make(map[string]ledger.Float, len(figures))
	for _, figure := range figures {
		logged[figure.Name] = ledger.Float(figure.Value)
	}
	return logged
}
