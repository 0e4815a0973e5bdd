package main

import (
	"encoding/json"
	"os"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/contenthash"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// facts writes the constants and the names of enum members, in the order of their numbers, that the
// orchestrator uses.
func facts() error {
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"constants": map[string]uint64{
			"protocolVersion":     uint64(tensor.ProtocolVersion),
			"maxChunkBytes":       uint64(tensor.MaxChunkBytes),
			"maxFrameBytes":       uint64(tensor.MaxFrameBytes),
			"maxShards":           uint64(tensor.MaxShards),
			"maxBatchSize":        uint64(tensor.MaxBatchSize),
			"maxParameters":       uint64(tensor.MaxParameters),
			"maxDimensions":       uint64(tensor.MaxDimensions),
			"maxTensorNameBytes":  uint64(tensor.MaxTensorNameBytes),
			"maxWorkerNameBytes":  uint64(tensor.MaxWorkerNameBytes),
			"maxSoftwareBytes":    uint64(tensor.MaxSoftwareBytes),
			"maxTrainingBytes":    uint64(tensor.MaxTrainingBytes),
			"maxArithmeticBytes":  uint64(tensor.MaxArithmeticBytes),
			"maxFingerprints":     uint64(tensor.MaxFingerprints),
			"maxOperatorBytes":    uint64(tensor.MaxOperatorBytes),
			"maxStopBytes":        uint64(tensor.MaxStopBytes),
			"maxBrokenBytes":      uint64(tensor.MaxBrokenBytes),
			"maxRunIdBytes":       uint64(tensor.MaxRunIdBytes),
			"maxReasonBytes":      uint64(tensor.MaxReasonBytes),
			"maxDetailBytes":      uint64(tensor.MaxDetailBytes),
			"maxDatasetNameBytes": uint64(tensor.MaxDatasetNameBytes),
			"maxColumns":          uint64(tensor.MaxColumns),
			"maxColumnNameBytes":  uint64(tensor.MaxColumnNameBytes),
			"maxClassNames":       uint64(tensor.MaxClassNames),
			"maxVocabulary":       uint64(tensor.MaxVocabulary),
			"maxFigures":          uint64(tensor.MaxFigures),
			"maxFigureNameBytes":  uint64(tensor.MaxFigureNameBytes),

			"contentHashBlockBytes": uint64(contenthash.BlockBytes),
		},
		"enums": map[string][]string{
			"DataType":    members(func(number uint16) string { return protocol.DType(number).String() }),
			"Split":       members(func(number uint16) string { return tensor.Split(number).String() }),
			"Verdict":     members(func(number uint16) string { return protocol.Verdict(number).String() }),
			"ErrorAction": members(func(number uint16) string { return protocol.Action(number).String() }),
			"ContentHash": members(func(number uint16) string { return contenthash.Method(number).String() }),
			"MessageType": members(func(number uint16) string { return protocol.Kind(number).String() }),
		},
	})
}

// members are the names of the numbers from 0 on. Behind the last member comes what String gives to
// any number that has no name.
func members(name func(uint16) string) []string {
	var names []string
	for number := uint16(0); name(number) != name(1<<15) && !unnamed(name(number)); number++ {
		names = append(names, name(number))
	}
	return names
}

// unnamed says whether String has only repeated the number.
func unnamed(name string) bool {
	for _, c := range name {
		if c == '(' || c == ' ' {
			return true
		}
	}
	return false
}
