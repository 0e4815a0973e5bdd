package protocol

// SharedRegion announces memory of the sender, whose descriptor comes with the message.
type SharedRegion struct {
	ID    uint32
	Bytes uint64
}

// Kind names the message.
func (SharedRegion) Kind() Kind { return KindSharedRegion }

// Place says where in shared memory the gradients of a message are.
type Place struct {
	Region     uint32 // SharedRegion.ID
	Generation uint64 // counts the uses of the region, from 1
	Offset     uint64 // in the region
	Bytes      uint64
}
