// Package wiretest is the worker's side of the protocol, for tests: it encodes requests, reads
// replies, and can play a whole worker against a real server.
package wiretest

import (
	"crypto/sha256"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
)

func must[T any](value T, err error) T {
	check(err)
	return value
}

// check ends the test program: encoding a test's own values must not fail.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

func frame(kind protocol.Kind, hint int, payload [][]byte, fill func(tensor.Message, wire.Payload)) wire.Frame {
	return must(wire.NewFrame(hint, payload, func(root tensor.Message, payload wire.Payload) error {
		root.SetType(tensor.MessageType(kind))
		fill(root, payload)
		return nil
	}))
}

// firstWithContentHash is the protocol version that brought JoinRequest.parametersContentHash.
const firstWithContentHash = 3

// Join encodes a JoinRequest.
func Join(join protocol.Join) wire.Frame {
	hint := 4096 + len(join.Training) + 128*len(join.Fingerprints)
	for _, spec := range join.Parameters {
		hint += 64 + len(spec.Name) + 8*len(spec.Shape)
	}
	return frame(protocol.KindJoinRequest, hint, nil, func(root tensor.Message, _ wire.Payload) {
		request := must(root.NewJoinRequest())
		request.SetProtocolVersion(join.Version)
		check(request.SetWorkerName(join.WorkerName))
		check(request.SetSoftware(join.Software))
		check(request.SetParametersHash(join.ParametersHash[:]))
		if join.Version >= firstWithContentHash {
			check(request.SetParametersContentHash(join.ParametersContentHash[:]))
		}
		request.SetStep(join.Step)
		request.SetProcessId(join.ProcessID)
		specs := must(request.NewParameters(int32(len(join.Parameters))))
		for i, spec := range join.Parameters {
			writeSpec(specs.At(i), spec)
		}
		check(request.SetRunId(join.RunID))
		check(request.SetTraining(join.Training))
		check(request.SetArithmetic(join.Arithmetic))
		fingerprints := must(request.NewFingerprints(int32(len(join.Fingerprints))))
		for i, given := range join.Fingerprints {
			check(fingerprints.At(i).SetOperator(given.Operator))
			check(fingerprints.At(i).SetHash(given.Hash[:]))
		}
		dataset := must(request.NewDataset())
		check(dataset.SetName(join.Dataset.Name))
		check(dataset.SetHash(join.Dataset.Hash[:]))
		dataset.SetTrainSamples(join.Dataset.TrainSamples)
		dataset.SetHeldOutSamples(join.Dataset.HeldOutSamples)
		dataset.SetClasses(join.Dataset.Classes)
		writeSpec(must(dataset.NewFeatures()), join.Dataset.Features)
		writeSpec(must(dataset.NewLabels()), join.Dataset.Label)
	})
}

func writeSpec(to tensor.TensorSpec, spec protocol.Spec) {
	check(to.SetName(spec.Name))
	to.SetDtype(tensor.DataType(spec.DType))
	dims := must(to.NewShape(int32(len(spec.Shape))))
	for i, dim := range spec.Shape {
		dims.Set(i, dim)
	}
}

// Work encodes a WorkRequest.
func Work(work protocol.Work) wire.Frame {
	return frame(protocol.KindWorkRequest, 256+len(work.Stop)+160*len(work.Figures), nil, func(root tensor.Message, _ wire.Payload) {
		request := must(root.NewWorkRequest())
		request.SetStep(work.Step)
		check(request.SetParametersHash(work.ParametersHash[:]))
		check(request.SetStop(work.Stop))
		writeFigures(work.Figures, request.NewFigures)
		timings := must(request.NewTimings())
		timings.SetData(work.Timings.Data)
		timings.SetCompute(work.Timings.Compute)
		timings.SetExchange(work.Timings.Exchange)
	})
}

// Leave encodes a Leave.
func Leave(leave protocol.Leave) wire.Frame {
	return frame(protocol.KindLeave, 256+len(leave.Reason)+len(leave.Broken), nil,
		func(root tensor.Message, _ wire.Payload) {
			message := must(root.NewLeave())
			check(message.SetReason(leave.Reason))
			check(message.SetBroken(leave.Broken))
		})
}

// Update is what a worker submits for a node of the tree.
type Update struct {
	Step       uint64
	FirstShard uint32
	Reports    []protocol.Report // one a shard
	Gradients  []float32         // flat
}

// Frames encodes an update, with at most that many elements in a piece and pieces in a frame.
func (u Update) Frames(layout *protocol.Layout, elements, pieces int) []wire.Frame {
	var all []wire.Piece
	for i := range layout.Specs {
		for from, to := layout.Range(i); from < to; from += elements {
			all = append(all, wire.Piece{Tensor: i, From: from, To: min(to, from+elements)})
		}
	}
	var frames []wire.Frame
	for start := 0; start < len(all); start += pieces {
		part := all[start:min(len(all), start+pieces)]
		var payload [][]byte
		hint := 512 + 128*len(u.Reports)
		for _, piece := range part {
			payload = append(payload, vector.Bytes(u.Gradients[piece.From:piece.To]))
			hint += 64 + len(layout.Specs[piece.Tensor].Name) + 64
		}
		frames = append(frames, frame(protocol.KindGradientUpdate, hint, payload,
			func(root tensor.Message, payload wire.Payload) {
				update := must(root.NewGradientUpdate())
				update.SetStep(u.Step)
				update.SetFirstShard(u.FirstShard)
				update.SetShardCount(uint32(len(u.Reports)))
				check(wire.WritePieces(layout, part, must(update.NewGradients(int32(len(part)))), payload))
				if start+pieces < len(all) {
					return
				}
				update.SetFinal(true)
				u.writeReports(update)
			}))
	}
	return frames
}

func (u Update) writeReports(update tensor.GradientUpdate) {
	reports := must(update.NewReports(int32(len(u.Reports))))
	for i, report := range u.Reports {
		to := reports.At(i)
		to.SetShard(report.Shard)
		to.SetSamples(report.Samples)
		to.SetLossSum(report.LossSum)
		to.SetWeight(report.Weight)
		check(to.SetStop(report.Stop))
		writeFigures(report.Figures, to.NewFigures)
		to.SetSummed(report.Summed)
		check(to.SetBatchHash(report.BatchHash[:]))
	}
}

func writeFigures(figures []protocol.Figure, create func(int32) (tensor.Figure_List, error)) {
	list := must(create(int32(len(figures))))
	for i, figure := range figures {
		to := list.At(i)
		check(to.SetName(figure.Name))
		to.SetValue(figure.Value)
	}
}

// Snapshot encodes a worker's state in pieces of that many bytes.
func Snapshot(step uint64, parametersHash protocol.Hash, state []byte, piece int) []wire.Frame {
	var frames []wire.Frame
	for start := 0; start < len(state); start += piece {
		data := state[start:min(len(state), start+piece)]
		frames = append(frames, frame(protocol.KindSnapshot, 512+len(data), nil, func(root tensor.Message, _ wire.Payload) {
			snapshot := must(root.NewSnapshot())
			snapshot.SetStep(step)
			check(snapshot.SetParametersHash(parametersHash[:]))
			snapshot.SetTotalBytes(uint64(len(state)))
			snapshot.SetByteOffset(uint64(start))
			check(snapshot.SetData(data))
			if start+piece >= len(state) {
				snapshot.SetFinal(true)
				sum := sha256.Sum256(state)
				check(snapshot.SetHash(sum[:]))
			}
		}))
	}
	return frames
}
