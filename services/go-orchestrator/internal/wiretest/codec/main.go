// Codec is the Go side of tests/conformance: it turns descriptions of gradient updates into frames
// and back, with the code that the orchestrator uses.
//
//	codec write    JSON lines on stdin -> frames on stdout
//	codec read     frames on stdin -> JSON lines on stdout; exit code 1 and a sentence on stderr
//	               for what cannot be read
//	codec cut      one frame on stdin -> a line for each of its prefixes: what reading it gives
//	codec judge    streams with their lengths on stdin -> what is read of each, with its length
//	codec facts    the constants and enums that it was built with, as JSON
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"capnproto.org/go/capnp/v3"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
)

// update describes a frame; piece one of its tensors. Size and Seed are for writing, Length and
// SHA256 for reading.
type update struct {
	RequestID uint64   `json:"requestId"`
	Step      uint64   `json:"step"`
	Final     bool     `json:"final"`
	Tensors   []piece  `json:"tensors"`
	Reports   []report `json:"reports"`
}

// report describes what is said of a shard. Floats are the bits that they have, because not every
// reader of JSON keeps them.
type report struct {
	Shard     uint32 `json:"shard"`
	Samples   uint32 `json:"samples"`
	LossSum   uint64 `json:"lossSum"`
	BatchHash string `json:"batchHash"`
	Weight    uint64 `json:"weight"`
	Summed    bool   `json:"summed"`
	Stop      string `json:"stop"`

	Figures []figure `json:"figures"`
}

// figure describes a number that a script has logged.
type figure struct {
	Name  string `json:"name"`
	Value uint64 `json:"value"`
}

type piece struct {
	Name       string   `json:"name"`
	DType      string   `json:"dtype"`
	Shape      []uint64 `json:"shape"`
	ByteOffset uint64   `json:"byteOffset"`
	Length     int      `json:"length"`
	SHA256     string   `json:"sha256"`
	Seed       int      `json:"seed,omitempty"`
}

func main() {
	verbs := map[string]func() error{"write": write, "read": read, "cut": cut, "judge": judge, "facts": facts}
	if len(os.Args) != 2 || verbs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "codec: one of write, read, cut, judge, facts")
		os.Exit(2)
	}
	if err := verbs[os.Args[1]](); err != nil {
		fmt.Fprintln(os.Stderr, "codec:", err)
		os.Exit(1)
	}
}

// pattern is the data of a piece: a cycle of 251 bytes that the seed shifts; 0 and 1 for bool.
func pattern(p piece) []byte {
	modulus := 256
	if p.DType == "bool" {
		modulus = 2
	}
	data := make([]byte, p.Length)
	for i := range data {
		data[i] = byte((i%251*7 + p.Seed) % modulus)
	}
	return data
}

func dtypeOf(name string) (protocol.DType, error) {
	for d := protocol.Float32; d.Size() > 0; d++ {
		if d.String() == name {
			return d, nil
		}
	}
	return 0, fmt.Errorf("no dtype is named %s", name)
}

func write() error {
	lines := json.NewDecoder(os.Stdin)
	for {
		var u update
		if err := lines.Decode(&u); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var payload [][]byte
		hint := 1024
		for _, p := range u.Tensors {
			hint += 256 + len(p.Name)
			payload = append(payload, pattern(p))
		}
		frame, err := wire.NewFrame(hint, payload, func(root tensor.Message, payload wire.Payload) error {
			return fill(root,
				payload, u)
		})
		if err != nil {
			return err
		}
		buffers, err := frame.Buffers(u.RequestID)
		if err != nil {
			return err
		}
		if _, err := buffers.WriteTo(os.Stdout); err != nil {
			return err
		}
	}
}

func fill(root tensor.Message, payload wire.Payload, u update) error {
	root.SetType(tensor.MessageType_gradientUpdate)
	message, err := root.NewGradientUpdate()
	if err != nil {
		return err
	}
	message.SetStep(u.Step)
	message.SetFinal(u.Final)
	list, err := message.NewGradients(int32(len(u.Tensors)))
	if err != nil {
		return err
	}
	for i, p := range u.Tensors {
		dtype, err := dtypeOf(p.DType)
		if err != nil {
			return err
		}
		data, err := payload.At(i)
		if err != nil {
			return err
		}
		if err := wire.WriteTensor(list.At(i), protocol.Spec{Name: p.Name, DType: dtype, Shape: p.Shape}, p.ByteOffset,
			data); err != nil {
			return err
		}
	}
	return fillReports(message, u.Reports)
}

func fillReports(message tensor.GradientUpdate, reports []report) error {
	list, err := message.NewReports(int32(len(reports)))
	if err != nil {
		return err
	}
	for i, r := range reports {
		to := list.At(i)
		to.SetShard(r.Shard)
		to.SetSamples(r.Samples)
		to.SetLossSum(math.Float64frombits(r.LossSum))
		to.SetWeight(math.Float64frombits(r.Weight))
		to.SetSummed(r.Summed)
		hash, err := hex.DecodeString(r.BatchHash)
		if err != nil {
			return err
		}
		if err := errors.Join(to.SetBatchHash(hash), to.SetStop(r.Stop), fillFigures(to, r.Figures)); err != nil {
			return err
		}
	}
	return nil
}

func fillFigures(report tensor.ShardReport, figures []figure) error {
	list, err := report.NewFigures(int32(len(figures)))
	if err != nil {
		return err
	}
	for i, f := range figures {
		to := list.At(i)
		if err := to.SetName(f.Name); err != nil {
			return err
		}
		to.SetValue(math.Float64frombits(f.Value))
	}
	return nil
}

func reader(from io.Reader) *wire.Reader {
	return wire.NewReader(from, wire.DefaultLimits(16<<20), budget.New("codec", 64<<20))
}

func read() error {
	frames, lines := reader(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		frame, err := frames.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		u, err := describe(frame)
		if err != nil {
			return err
		}
		if err := lines.Encode(u); err != nil {
			return err
		}
	}
}

func describe(frame *capnp.Message) (u update, err error) {
	envelope, err := wire.Open(frame)
	if err != nil {
		return u, err
	}
	if envelope.Kind != protocol.KindGradientUpdate {
		return u, fmt.Errorf("unsupported: a %s", envelope.Kind)
	}
	root, err := tensor.ReadRootMessage(frame)
	if err != nil {
		return u, err
	}
	message, err := root.GradientUpdate()
	if err != nil {
		return u, err
	}
	u = update{RequestID: envelope.RequestID, Step: message.Step(), Final: message.Final(), Tensors: []piece{}}
	if u.Reports, err = describeReports(message); err != nil {
		return u, err
	}
	list, err := message.Gradients()
	if err != nil {
		return u, err
	}
	for i := range list.Len() {
		p, err := describePiece(list.At(i))
		if err != nil {
			return u, err
		}
		u.Tensors = append(u.Tensors, p)
	}
	return u, nil
}

func describeReports(message tensor.GradientUpdate) ([]report, error) {
	list, err := message.Reports()
	if err != nil {
		return nil, err
	}
	reports := make([]report, list.Len())
	for i := range reports {
		from := list.At(i)
		hash, err := from.BatchHash()
		if err != nil {
			return nil, err
		}
		stop, err := from.Stop()
		if err != nil {
			return nil, err
		}
		figures, err := describeFigures(from)
		if err != nil {
			return nil, err
		}
		reports[i] = report{
			Shard: from.Shard(), Samples: from.Samples(), LossSum: math.Float64bits(from.LossSum()),
			BatchHash: hex.EncodeToString(hash),
			Weight:    math.Float64bits(from.Weight()), Summed: from.Summed(), Stop: stop, Figures: figures,
		}
	}
	return reports, nil
}

func describeFigures(message tensor.ShardReport) ([]figure, error) {
	list, err := message.Figures()
	if err != nil {
		return nil, err
	}
	figures := make([]figure, list.Len())
	for i := range figures {
		from := list.At(i)
		name, err := from.Name()
		if err != nil {
			return nil, err
		}
		figures[i] = figure{Name: name, Value: math.Float64bits(from.Value())}
	}
	return figures, nil
}

func describePiece(t tensor.Tensor) (p piece, err error) {
	dtype := protocol.DType(t.Dtype())
	if dtype.Size() == 0 {
		return p, fmt.Errorf("unsupported: a tensor of %s", dtype)
	}
	if p.Name, err = t.Name(); err != nil {
		return p, err
	}
	dims, err := t.Shape()
	if err != nil {
		return p, err
	}
	p.Shape = make([]uint64, dims.Len())
	for i := range p.Shape {
		p.Shape[i] = dims.At(i)
	}
	data, err := t.Data()
	if err != nil {
		return p, err
	}
	sum := sha256.Sum256(data)
	p.DType, p.ByteOffset, p.Length, p.SHA256 = dtype.String(), t.ByteOffset(), len(data), hex.EncodeToString(sum[:])
	return p, nil
}

func cut() error {
	whole, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	for length := range whole {
		frame, err := reader(bytes.NewReader(whole[:length])).Next()
		if err == nil {
			_, err = describe(frame)
		}
		switch {
		case err == nil:
			fmt.Println("frame")
		case errors.Is(err, io.EOF):
			fmt.Println("end")
		default:
			fmt.Println("error:", err)
		}
	}
	return nil
}
