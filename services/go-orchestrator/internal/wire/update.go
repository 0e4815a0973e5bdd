package wire

import (
	"errors"
	"fmt"
	"slices"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/vector"
)

// UpdateAssembly assembles the frames of one gradient update, checking each piece against the model
// before it is copied.
type UpdateAssembly struct {
	RequestID uint64

	layout  *protocol.Layout
	builder *vector.Builder
	update  protocol.Update
	tensor  int // that the next piece belongs to
	filled  int // elements of it that have arrived
}

// NewUpdateAssembly starts with an update's first frame, which must also be given to Add.
func NewUpdateAssembly(first Message, layout *protocol.Layout, pool *vector.Pool) *UpdateAssembly {
	return &UpdateAssembly{RequestID: first.RequestID, layout: layout, builder: pool.Build(layout.Elements())}
}

// Discard releases the memory of an update that will not be completed.
func (a *UpdateAssembly) Discard() { a.builder.Discard() }

// Add takes the next frame. After the final one it gives the update. Pieces that are not a gradient
// of the model make it a refused one (Update.Refusal); the remaining frames are then skipped. An
// error means that the message itself is malformed, or that there is no memory for it now
// (*budget.ExhaustedError).
func (a *UpdateAssembly) Add(m Message) (update *protocol.Update, err error) {
	defer guard(&err)
	frame, err := m.root.GradientUpdate()
	if err != nil {
		return nil, err
	}
	u := &a.update
	if a.filled == 0 && a.tensor == 0 && u.Refusal == "" && u.ShardCount == 0 {
		u.Step, u.FirstShard, u.ShardCount = frame.Step(), frame.FirstShard(), frame.ShardCount()
	}
	if u.Step != frame.Step() || u.FirstShard != frame.FirstShard() || u.ShardCount != frame.ShardCount() {
		return nil, fmt.Errorf("the frames of a gradient update are for different steps or shards")
	}
	if u.Refusal == "" {
		if err := a.pieces(frame); err != nil {
			var exhausted *budget.ExhaustedError
			if errors.As(err, &exhausted) {
				return nil, err
			}
			a.refuse("%v", err)
		}
	}
	if !frame.Final() {
		return nil, nil
	}
	if u.Refusal == "" {
		a.finish(frame)
	}
	return u, nil
}

func (a *UpdateAssembly) refuse(format string, args ...any) {
	a.builder.Discard()
	a.update.Refusal = fmt.Sprintf(format, args...)
}

func (a *UpdateAssembly) pieces(frame tensor.GradientUpdate) error {
	pieces, err := frame.Gradients()
	if err != nil {
		return err
	}
	for i := range pieces.Len() {
		if err := a.piece(pieces.At(i)); err != nil {
			return err
		}
	}
	return nil
}

func (a *UpdateAssembly) piece(piece tensor.Tensor) error {
	given, err := piece.NameBytes()
	name, err := text("the name of a tensor", given, err, tensor.MaxTensorNameBytes)
	if err != nil {
		return err
	}
	a.skipEmpty(name)
	if a.tensor == len(a.layout.Specs) {
		return fmt.Errorf("tensor %.100q comes after all %d parameters are complete", name, len(a.layout.Specs))
	}
	spec := a.layout.Specs[a.tensor]
	if name != spec.Name {
		return fmt.Errorf("tensor %.100q comes where %s is expected (its element %d is next)", name, spec.Name, a.filled)
	}
	if dtype := protocol.DType(piece.Dtype()); dtype != protocol.Float32 {
		return fmt.Errorf("the gradient of tensor %s is %s; gradients travel as float32", name, dtype)
	}
	dims, err := piece.Shape()
	if err != nil {
		return err
	}
	if dims, err := shape(dims); err != nil || !slices.Equal(dims, spec.Shape) {
		return fmt.Errorf("tensor %s has shape %v; the parameter has %v", name, dims, spec.Shape)
	}
	if offset := piece.ByteOffset(); offset != uint64(a.filled)*4 {
		return fmt.Errorf("a piece of tensor %s starts at byte %d; the next byte is %d", name, offset, a.filled*4)
	}
	data, err := piece.Data()
	if err != nil {
		return err
	}
	from, to := a.layout.Range(a.tensor)
	if len(data)%4 != 0 || len(data)/4 > to-from-a.filled {
		return fmt.Errorf("a piece of tensor %s has %d bytes; it must be whole elements, and %d are missing", name, len(data),
			to-from-a.filled)
	}
	if len(data) == 0 && to > from {
		return fmt.Errorf("a piece of tensor %s is empty", name)
	}
	if err := a.builder.Write(data); err != nil {
		var notFinite *vector.NotFiniteError
		if errors.As(err, &notFinite) {
			a.update.NotFinite = true
			return fmt.Errorf("the gradient of tensor %s has %v at element %d", name, notFinite.Value, notFinite.Position-from)
		}
		return err
	}
	if a.filled += len(data) / 4; a.filled == to-from {
		a.tensor, a.filled = a.tensor+1, 0
	}
	return nil
}

// skipEmpty skips tensors without elements, for which writers may or may not send a piece.
func (a *UpdateAssembly) skipEmpty(next string) {
	for a.tensor < len(a.layout.Specs) {
		from, to := a.layout.Range(a.tensor)
		if from < to || a.layout.Specs[a.tensor].Name == next {
			return
		}
		a.tensor++
	}
}

func (a *UpdateAssembly) finish(frame tensor.GradientUpdate) {
	a.skipEmpty("")
	if a.tensor < len(a.layout.Specs) {
		a.refuse("the last frame is here, but tensor %s lacks its elements from %d on", a.layout.Specs[a.tensor].Name,
			a.filled)
		return
	}
	var err error
	if a.update.Reports, err = readReports(frame); err != nil {
		a.refuse("%v", err)
		return
	}
	a.update.Gradients, a.update.Digest = a.builder.Finish()
}

func readReports(frame tensor.GradientUpdate) ([]protocol.Report, error) {
	list, err := frame.Reports()
	if err != nil {
		return nil, err
	}
	if list.Len() > int(tensor.MaxShards) {
		return nil, fmt.Errorf("%d shard reports are more than a run has shards", list.Len())
	}
	reports := make([]protocol.Report, list.Len())
	for i := range reports {
		report := list.At(i)
		batch, err := parseHash("batchHash", report.BatchHash)
		if err != nil {
			return nil, fmt.Errorf("report of shard %d: %w", report.Shard(), err)
		}
		given, err := report.StopBytes()
		stop, err := text("its stop", given, err, tensor.MaxStopBytes)
		if err != nil {
			return nil, fmt.Errorf("report of shard %d: %w", report.Shard(), err)
		}
		figures, err := readFigures(report.Figures)
		if err != nil {
			return nil, fmt.Errorf("report of shard %d: %w", report.Shard(), err)
		}
		reports[i] = protocol.Report{
			Shard: report.Shard(), Samples: report.Samples(), LossSum: report.LossSum(), BatchHash: batch,
			Weight: report.Weight(), Summed: report.Summed(), Stop: stop, Figures: figures,
		}
	}
	return reports, nil
}
