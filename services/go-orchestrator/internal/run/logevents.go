package run

// Names of log lines that other programs read, as the attribute "event": `pangea chaos` measures by
// them. The message beside a name is for people and may change; the name may not.
const (
	eventWorkerJoined      = "worker_joined"
	eventWorkerGone        = "worker_gone"
	eventCheckpointRefused = "checkpoint_refused"
)
