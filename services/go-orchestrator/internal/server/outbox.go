package server

import (
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
	"pangea.example/pangea/services/go-orchestrator/internal/clock"
	"pangea.example/pangea/services/go-orchestrator/internal/shared"
	"pangea.example/pangea/services/go-orchestrator/internal/wire"
)

// maxUnread replies may wait for a peer to read them, and this many bytes that are its own; one
// that lets more pile up is disconnected.
const (
	maxUnread      = 64
	maxUnreadBytes = 1 << 20
)

// sendTimeout is how long a peer may take to read one frame.
const sendTimeout = 30 * time.Second

// stream is a connection whose directions are closed apart.
type stream interface {
	net.Conn
	CloseWrite() error
}

// outgoing is a reply on its way.
type outgoing struct {
	frames  frames
	request uint64
	bytes   int64          // that are held for this peer alone
	region  *shared.Region // whose descriptor goes with the first byte; nil for none
	release func()         // releases what the frames share; called once, whether they were sent or not
}

// frames of a message: one, those of a wire.Bulk, or a stream.
type frames interface {
	// Frame returns frame i, when it is there, and whether it is the last one.
	Frame(i int) (frame wire.Frame, last bool, err error)
}

// small is a reply of one frame, which is this peer's alone.
func small(frame wire.Frame, request uint64) outgoing {
	return outgoing{frames: oneFrame(frame), request: request, bytes: frame.Size(), release: func() {}}
}

type oneFrame wire.Frame

// Frame returns the only frame.
func (f oneFrame) Frame(int) (wire.Frame, bool, error) { return wire.Frame(f), true, nil }

type manyFrames struct{ bulk *wire.Bulk }

// Frame returns frame i.
func (f manyFrames) Frame(i int) (wire.Frame, bool, error) {
	frame, err := f.bulk.Frame(i)
	return frame, i == f.bulk.Frames()-1, err
}

// outbox is the queue of replies to one peer. Putting never waits, so that a slow peer holds up
// nobody else.
type outbox struct {
	mutex    sync.Mutex
	queue    []outgoing
	bytes    int64 // of what is queued, as far as it is this peer's alone
	finished bool
	wake     chan struct{}
	done     chan struct{} // closed when the writer has ended
}

func newOutbox() *outbox {
	return &outbox{wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// put queues a reply, which counts against memory until it is sent; false means that it was
// dropped, because the peer does not read, there is no room for more, or the connection is ending.
func (o *outbox) put(reply outgoing, memory *budget.Budget) bool {
	if memory.Take(reply.bytes) != nil {
		reply.release()
		return false
	}
	shared := reply.release
	reply.release = func() {
		memory.Give(reply.bytes)
		shared()
	}
	o.mutex.Lock()
	taken := !o.finished && len(o.queue) < maxUnread && o.bytes+reply.bytes <= maxUnreadBytes
	if taken {
		o.queue = append(o.queue, reply)
		o.bytes += reply.bytes
	}
	o.mutex.Unlock()
	if !taken {
		reply.release()
		return false
	}
	o.signal()
	return true
}

// finish lets the writer end once everything is sent.
func (o *outbox) finish() {
	o.mutex.Lock()
	o.finished = true
	o.mutex.Unlock()
	o.signal()
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// next waits for a reply; false when there will be none.
func (o *outbox) next() (outgoing, bool) {
	for {
		o.mutex.Lock()
		if len(o.queue) > 0 {
			reply := o.queue[0]
			o.queue = o.queue[1:]
			o.bytes -= reply.bytes
			o.mutex.Unlock()
			return reply, true
		}
		finished := o.finished
		o.mutex.Unlock()
		if finished {
			return outgoing{}, false
		}
		<-o.wake
	}
}

// write sends what is queued until finish. After an error it closes the connection, so that the
// reading side learns of it, and drops the rest.
func (o *outbox) write(connection stream, clock clock.Clock, sent prometheus.Counter) {
	defer close(o.done)
	var failed error
	for {
		reply, more := o.next()
		if !more {
			return
		}
		if failed == nil {
			if failed = send(connection, clock, reply, sent); failed != nil {
				_ = connection.Close()
			}
		}
		reply.release()
	}
}

func send(connection stream, clock clock.Clock, reply outgoing, sent prometheus.Counter) error {
	for i, last := 0, false; !last; i++ {
		var frame wire.Frame
		var err error
		if frame, last, err = reply.frames.Frame(i); err != nil {
			return err
		}
		buffers, err := frame.Buffers(reply.request)
		if err != nil {
			return err
		}
		if err := connection.SetWriteDeadline(clock.Now().Add(sendTimeout)); err != nil {
			return err
		}
		bytes, err := write(connection, buffers, reply.region)
		sent.Add(float64(bytes))
		if err != nil {
			return err
		}
	}
	return nil
}

// write sends a frame, with the descriptor of a region if there is one.
func write(connection stream, buffers net.Buffers, region *shared.Region) (int64, error) {
	if region == nil {
		return buffers.WriteTo(connection)
	}
	first, err := connection.(*shared.Connection).WriteWith(buffers[0], region.Descriptor())
	if err != nil {
		return int64(first), err
	}
	rest := buffers[1:]
	bytes, err := rest.WriteTo(connection)
	return int64(first) + bytes, err
}
