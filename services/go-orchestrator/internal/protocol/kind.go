package protocol

import (
	"cmp"
	"fmt"

	"pangea.example/pangea/schemas/tensor"
)

// Kind names a message.
type Kind uint16

// The messages of the schema.
const (
	KindUnspecified     = Kind(tensor.MessageType_unspecified)
	KindDatasetRequest  = Kind(tensor.MessageType_datasetRequest)
	KindDatasetInfo     = Kind(tensor.MessageType_datasetInfo)
	KindBatchRequest    = Kind(tensor.MessageType_batchRequest)
	KindTrainingBatch   = Kind(tensor.MessageType_trainingBatch)
	KindJoinRequest     = Kind(tensor.MessageType_joinRequest)
	KindJoinReply       = Kind(tensor.MessageType_joinReply)
	KindWorkRequest     = Kind(tensor.MessageType_workRequest)
	KindShardLease      = Kind(tensor.MessageType_shardLease)
	KindGradientUpdate  = Kind(tensor.MessageType_gradientUpdate)
	KindGradientAck     = Kind(tensor.MessageType_gradientAck)
	KindAggregate       = Kind(tensor.MessageType_aggregate)
	KindSnapshotRequest = Kind(tensor.MessageType_snapshotRequest)
	KindSnapshot        = Kind(tensor.MessageType_snapshot)
	KindRunFinished     = Kind(tensor.MessageType_runFinished)
	KindLeave           = Kind(tensor.MessageType_leave)
	KindErrorReply      = Kind(tensor.MessageType_errorReply)
	KindHeartbeat       = Kind(tensor.MessageType_heartbeat)
	KindSharedRegion    = Kind(tensor.MessageType_sharedRegion)
)

// Known reports whether this build knows the message.
func (k Kind) Known() bool { return tensor.MessageType(k).String() != "" }

// String returns the schema's name.
func (k Kind) String() string {
	return cmp.Or(tensor.MessageType(k).String(), fmt.Sprintf("message type %d", uint16(k)))
}
