package wire

import (
	"fmt"

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
		given, err := figure.NameBytes()
		name, err := text(fmt.Sprintf("the name of figure %d", i), given, err, tensor.MaxFigureNameBytes)
		if err != nil {
			return nil, err
		}
		if name == "" {
			return nil, fmt.Errorf("the name of figure %d has 0 bytes; it must have 1 to %d", i, tensor.MaxFigureNameBytes)
		}
		figures[i] = protocol.Figure{Name: name, Value: figure.Value()}
	}
	return figures, nil
}
