package run

import "pangea.example/pangea/services/go-orchestrator/internal/protocol"

// identity is what a run is, besides its settings. The first worker ever to join brings it, the
// ledger keeps it, and every later worker has to bring the same: otherwise it would compute
// different bits.
type identity struct {
	layout      *protocol.Layout // of the parameters; nil until the first worker has joined
	dataset     protocol.Dataset
	schedule    Schedule
	computation computation
	software    string // of the first worker: another one is only worth a warning
	epochs      uint32 // as the ledger has them; a resumed run may be given more
}
