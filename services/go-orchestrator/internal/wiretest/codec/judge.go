package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"unicode/utf8"

	"capnproto.org/go/capnp/v3"

	"pangea.example/pangea/schemas/tensor"
	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
)

// judge answers streams until its input ends: each is preceded by its length, as is each answer.
func judge() error {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	for {
		var length uint32
		if err := binary.Read(in, binary.LittleEndian, &length); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		stream := make([]byte, length)
		if _, err := io.ReadFull(in, stream); err != nil {
			return err
		}
		answer := judgement(stream)
		if err := binary.Write(out, binary.LittleEndian, uint32(len(answer))); err != nil {
			return err
		}
		if _, err := out.WriteString(answer); err != nil {
			return err
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

// unreadable stands for the content of a message that cannot be read.
const unreadable = "unreadable\n"

// judgement says what is read of a stream, up to its end or to what is refused: of each message its
// envelope, one value of its content a line, and an empty line.
func judgement(stream []byte) string {
	frames := wire.NewReader(bytes.NewReader(stream), wire.DefaultLimits(1<<20), budget.New("judge", 4<<20))
	defer frames.Close()
	var text strings.Builder
	for {
		frame, err := frames.Next()
		if errors.Is(err, io.EOF) {
			return text.String() + "end\n"
		}
		if err != nil {
			return text.String() + "refused\n"
		}
		envelope, err := wire.Open(frame)
		if err != nil || envelope.Kind > protocol.KindSharedRegion {
			return text.String() + "refused\n"
		}
		fmt.Fprintf(&text, "%s %d\n", envelope.Kind, envelope.RequestID)
		if envelope.Kind == protocol.KindGradientUpdate {
			content, err := readUpdate(frame)
			if err != nil {
				content = unreadable
			}
			text.WriteString(content)
		}
		text.WriteString("\n")
	}
}

func readUpdate(frame *capnp.Message) (read string, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("decode a message: %v", reason) // as package wire does
		}
	}()
	root, err := tensor.ReadRootMessage(frame)
	if err != nil {
		return "", err
	}
	update, err := root.GradientUpdate()
	if err != nil {
		return "", err
	}
	reports, err := readReports(update)
	if err != nil {
		return "", err
	}
	tensors, err := readTensors(update)
	return fmt.Sprintf("%d %t\n", update.Step(), update.Final()) + reports + tensors, err
}

func readReports(update tensor.GradientUpdate) (string, error) {
	var read strings.Builder
	list, err := update.Reports()
	if err != nil {
		return "", err
	}
	for i := range list.Len() {
		report := list.At(i)
		hash, err := report.BatchHash()
		if err != nil {
			return "", err
		}
		stop, err := readText(report.StopBytes())
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&read, "report %d %d %016x %016x %t %x %x\n", report.Shard(), report.Samples(),
			math.Float64bits(report.LossSum()), math.Float64bits(report.Weight()), report.Summed(), hash, stop)
		figures, err := report.Figures()
		if err != nil {
			return "", err
		}
		for k := range figures.Len() {
			name, err := readText(figures.At(k).NameBytes())
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&read, "figure %x %016x\n", name, math.Float64bits(figures.At(k).Value()))
		}
	}
	return read.String(), nil
}

func readTensors(update tensor.GradientUpdate) (string, error) {
	var read strings.Builder
	list, err := update.Gradients()
	if err != nil {
		return "", err
	}
	for i := range list.Len() {
		piece := list.At(i)
		name, err := readText(piece.NameBytes())
		if err != nil {
			return "", err
		}
		shape, err := piece.Shape()
		if err != nil {
			return "", err
		}
		data, err := piece.Data()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&read, "tensor %x %d %d %x", name, uint16(piece.Dtype()), piece.ByteOffset(), sha256.Sum256(data))
		for k := range shape.Len() {
			fmt.Fprintf(&read, " %d", shape.At(k))
		}
		read.WriteString("\n")
	}
	return read.String(), nil
}

// readText refuses what is not UTF-8, as the services do.
func readText(text []byte, err error) ([]byte, error) {
	if err == nil && !utf8.Valid(text) {
		err = errors.New("a text is not UTF-8")
	}
	return text, err
}
