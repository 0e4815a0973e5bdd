package wire

import (
	"fmt"
	"strings"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// readFigures reads what a script has logged, within the limits of the schema.
func readFigures(get func() (tensor.Figure_List, error)) ([]protocol.Figure, error) {
	list, err := get()
	if err != nil || list.Len() == 0 {
		return nil, err
	}
	if list.Len() > int(tensor.MaxFigures) {
		return nil, fmt.Errorf("it has %d figures; it may have %d", list.Len(), int(tensor.MaxFigures))
	}
	figures := make([]protocol.Figure, list.Len())
	for i := range figures {
		figure := list.At(i)
		name, err := figure.Name()
		if err != nil {
			return nil, fmt.Errorf("figure %d: %w", i, err)
		}
		if len(name) == 0 || len(name) > int(tensor.MaxFigureNameBytes) {
			return nil, fmt.Errorf("the name of figure %d has %d bytes; it must have 1 to %d", i, len(name),
				int(tensor.MaxFigureNameBytes))
		}
		figures[i] = protocol.Figure{Name: strings.ToValidUTF8(name, "?"), Value: figure.Value()}
	}
	return figures, nil
}
