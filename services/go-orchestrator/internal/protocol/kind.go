package protocol

import "fmt"

// Kind names a message, with the numbers of the schema's MessageType.
type Kind uint16

// The messages of the schema.
const (
	KindUnspecified Kind = iota
	KindDatasetRequest
	KindDatasetInfo
	KindBatchRequest
	KindTrainingBatch
	KindJoinRequest
	KindJoinReply
	KindWorkRequest
	KindShardLease
	KindGradientUpdate
	KindGradientAck
	KindAggregate
	KindSnapshotRequest
	KindSnapshot
	KindRunFinished
	KindLeave
	KindErrorReply
	KindHeartbeat
)

var kindNames = [...]string{
	"unspecified", "datasetRequest", "datasetInfo", "batchRequest", "trainingBatch", "joinRequest", "joinReply", "workRequest",
	"shardLease", "gradientUpdate", "gradientAck", "aggregate", "snapshotRequest", "snapshot", "runFinished", "leave", "errorReply", "heartbeat",
}

// Known says whether this build has heard of the message.
func (k Kind) Known() bool { return int(k) < len(kindNames) }

// String gives the schema's name.
func (k Kind) String() string {
	if k.Known() {
		return kindNames[k]
	}
	return fmt.Sprintf("message type %d", uint16(k))
}
