package wire

import (
	"fmt"
	"time"

	"capnproto.org/go/capnp/v3"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// Message is a frame whose envelope has been read.
type Message struct {
	Kind      protocol.Kind // may be one that this build does not know
	RequestID uint64
	root      tensor.Message
}

// Open reads the envelope. The request id is set even when the rest is malformed, if it could be
// read.
func Open(frame *capnp.Message) (message Message, err error) {
	defer guard(&err)
	root, err := tensor.ReadRootMessage(frame)
	if err != nil {
		return message, fmt.Errorf("read the root of a frame: %w", err)
	}
	message = Message{protocol.Kind(root.Type()), root.RequestId(), root}
	if which := protocol.Kind(root.Which()); which != message.Kind {
		return message, fmt.Errorf("a message of type %s holds a %s", message.Kind, which)
	}
	if message.Kind == protocol.KindUnspecified {
		return message, fmt.Errorf("a message has no type and no content")
	}
	return message, nil
}

// guard turns a panic in the Cap'n Proto library into a malformed message: a peer's bytes must not
// be able to end the process.
func guard(err *error) {
	if reason := recover(); reason != nil {
		*err = fmt.Errorf("decode a message: %v", reason)
	}
}

// Join reads a JoinRequest.
func (m Message) Join() (join protocol.Join, err error) {
	defer guard(&err)
	request, err := m.root.JoinRequest()
	if err != nil {
		return join, err
	}
	join.Version, join.Step, join.ProcessID = request.ProtocolVersion(), request.Step(), request.ProcessId()
	given, err := request.WorkerNameBytes()
	if join.WorkerName, err = name("workerName", given, err, tensor.MaxWorkerNameBytes); err != nil {
		return join, err
	}
	given, err = request.SoftwareBytes()
	if join.Software, err = text("software", given, err, tensor.MaxSoftwareBytes); err != nil {
		return join, err
	}
	if join.ParametersHash, err = parseHash("parametersHash", request.ParametersHash); err != nil {
		return join, err
	}
	if err := readContentHash(request, &join); err != nil {
		return join, err
	}
	specs, err := request.Parameters()
	if err != nil {
		return join, err
	}
	if specs.Len() > int(tensor.MaxParameters) {
		return join, fmt.Errorf("the model has %d parameters; at most %d are allowed", specs.Len(), int(tensor.MaxParameters))
	}
	join.Parameters = make([]protocol.Spec, specs.Len())
	for i := range join.Parameters {
		if join.Parameters[i], err = readSpec(specs.At(i)); err != nil {
			return join, fmt.Errorf("parameter %d: %w", i, err)
		}
	}
	given, err = request.RunIdBytes()
	if join.RunID, err = text("runId", given, err, tensor.MaxRunIdBytes); err != nil {
		return join, err
	}
	// A value that no clock can mean counts as no promise.
	if beat := request.HeartbeatSeconds(); beat > 0 && beat < 3600 {
		join.Heartbeat = time.Duration(beat * float64(time.Second))
	}
	if err := readComputation(request, &join); err != nil {
		return join, err
	}
	dataset, err := request.Dataset()
	if err != nil {
		return join, err
	}
	join.Dataset, err = readDataset(dataset)
	return join, err
}

// readContentHash reads a field that workers of an earlier protocol do not send: they are refused
// for their version, which says more.
func readContentHash(request tensor.JoinRequest, join *protocol.Join) (err error) {
	if request.HasParametersContentHash() || join.Version == tensor.ProtocolVersion {
		join.ParametersContentHash, err = parseHash("parametersContentHash", request.ParametersContentHash)
	}
	return err
}

// readComputation reads what must be equal for all workers of a run.
func readComputation(request tensor.JoinRequest, join *protocol.Join) (err error) {
	given, err := request.TrainingBytes()
	if join.Training, err = text("training", given, err, tensor.MaxTrainingBytes); err != nil {
		return err
	}
	given, err = request.ArithmeticBytes()
	if join.Arithmetic, err = text("arithmetic", given, err, tensor.MaxArithmeticBytes); err != nil {
		return err
	}
	list, err := request.Fingerprints()
	if err != nil {
		return err
	}
	if list.Len() > int(tensor.MaxFingerprints) {
		return fmt.Errorf("the worker has %d fingerprints; it may have %d", list.Len(), int(tensor.MaxFingerprints))
	}
	for i := range list.Len() {
		fingerprint := list.At(i)
		given, err := fingerprint.OperatorBytes()
		operator, err := text("the operator of a fingerprint", given, err, tensor.MaxOperatorBytes)
		if err != nil {
			return err
		}
		hash, err := parseHash("fingerprint of "+operator, fingerprint.Hash)
		if err != nil {
			return err
		}
		join.Fingerprints = append(join.Fingerprints, protocol.Fingerprint{Operator: operator, Hash: hash})
	}
	return nil
}

func readDataset(info tensor.DatasetInfo) (dataset protocol.Dataset, err error) {
	dataset.TrainSamples, dataset.HeldOutSamples, dataset.Classes = info.TrainSamples(), info.HeldOutSamples(),
		info.Classes()
	given, err := info.NameBytes()
	if dataset.Name, err = text("dataset.name", given, err, tensor.MaxDatasetNameBytes); err != nil {
		return dataset, err
	}
	if dataset.Hash, err = parseHash("dataset.hash", info.Hash); err != nil {
		return dataset, err
	}
	features, err := info.Features()
	if err != nil {
		return dataset, err
	}
	if dataset.Features, err = readSpec(features); err != nil {
		return dataset, fmt.Errorf("dataset.features: %w", err)
	}
	labels, err := info.Labels()
	if err != nil {
		return dataset, err
	}
	if dataset.Label, err = readSpec(labels); err != nil {
		return dataset, fmt.Errorf("dataset.labels: %w", err)
	}
	return dataset, nil
}

func readSpec(given tensor.TensorSpec) (spec protocol.Spec, err error) {
	spec.DType = protocol.DType(given.Dtype())
	bytes, err := given.NameBytes()
	if spec.Name, err = text("its name", bytes, err, tensor.MaxTensorNameBytes); err != nil {
		return spec, err
	}
	dims, err := given.Shape()
	if err != nil {
		return spec, err
	}
	spec.Shape, err = shape(dims)
	return spec, err
}

func shape(dims capnp.UInt64List) ([]uint64, error) {
	if dims.Len() > int(tensor.MaxDimensions) {
		return nil, fmt.Errorf("the shape has %d dimensions; at most %d are allowed", dims.Len(), int(tensor.MaxDimensions))
	}
	shape := make([]uint64, dims.Len())
	for i := range shape {
		shape[i] = dims.At(i)
	}
	return shape, nil
}

func parseHash(what string, get func() ([]byte, error)) (protocol.Hash, error) {
	data, err := get()
	if err != nil {
		return protocol.Hash{}, fmt.Errorf("%s: %w", what, err)
	}
	return protocol.ParseHash(what, data)
}

// Work reads a WorkRequest.
func (m Message) Work() (work protocol.Work, err error) {
	defer guard(&err)
	request, err := m.root.WorkRequest()
	if err != nil {
		return work, err
	}
	work.Step = request.Step()
	if work.ParametersHash, err = parseHash("parametersHash", request.ParametersHash); err != nil {
		return work, err
	}
	given, err := request.StopBytes()
	if work.Stop, err = text("stop", given, err, tensor.MaxStopBytes); err != nil {
		return work, err
	}
	if work.Figures, err = readFigures(request.Figures); err != nil {
		return work, err
	}
	timings, err := request.Timings()
	work.Timings = protocol.Timings{Data: timings.Data(), Compute: timings.Compute(), Exchange: timings.Exchange()}
	return work, err
}

// Leave reads a Leave.
func (m Message) Leave() (leave protocol.Leave, err error) {
	defer guard(&err)
	request, err := m.root.Leave()
	if err != nil {
		return leave, err
	}
	given, err := request.ReasonBytes()
	if leave.Reason, err = startOf(given, err, tensor.MaxReasonBytes); err != nil {
		return leave, err
	}
	given, err = request.BrokenBytes()
	leave.Broken, err = startOf(given, err, tensor.MaxBrokenBytes)
	leave.CannotLoad = request.CannotLoad()
	return leave, err
}
