package shared

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// maxWaiting descriptors may have arrived without having been asked for; a peer that sends more is
// disconnected.
const maxWaiting = 64

// Connection is a Unix connection that carries descriptors beside its bytes. A descriptor belongs
// to the frame whose first byte it came with, so that descriptors and the frames that announce them
// have the same order.
type Connection struct {
	*net.UnixConn
	mutex   sync.Mutex
	waiting []int
	closed  bool
}

// NewConnection takes over a connection.
func NewConnection(connection *net.UnixConn) *Connection { return &Connection{UnixConn: connection} }

// ErrTooManyDescriptors is the error of Read for a peer that sends descriptors without frames that
// announce them.
var ErrTooManyDescriptors = fmt.Errorf("more than %d descriptors arrived that no message announces", maxWaiting)

// Read reads bytes, and keeps the descriptors that come with them for Descriptor. One goroutine may
// read at a time.
func (c *Connection) Read(to []byte) (int, error) {
	if len(to) == 0 {
		return 0, nil
	}
	var control [256]byte
	n, controls, flags, _, err := c.ReadMsgUnix(to, control[:])
	n = max(n, 0) // it is -1 after an error, which a Reader must not return
	if controls > 0 {
		if err := c.keep(control[:controls], flags); err != nil {
			return 0, err // what came with them is of no use any more
		}
	}
	if errors.Is(err, io.EOF) {
		return n, io.EOF // as readers of a stream expect it, without a context
	}
	return n, err
}

// keep queues the descriptors of a control message.
func (c *Connection) keep(control []byte, flags int) error {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return fmt.Errorf("read the descriptors of a message: %w", err)
	}
	var arrived []int
	for i := range messages {
		rights, err := unix.ParseUnixRights(&messages[i])
		if err == nil {
			arrived = append(arrived, rights...)
		}
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.closed || flags&unix.MSG_CTRUNC != 0 || len(c.waiting)+len(arrived) > maxWaiting {
		closeAll(arrived)
		return ErrTooManyDescriptors
	}
	c.waiting = append(c.waiting, arrived...)
	return nil
}

// Descriptor takes the oldest descriptor that has arrived; false where there is none. The caller
// closes it.
func (c *Connection) Descriptor() (int, bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if len(c.waiting) == 0 {
		return -1, false
	}
	first := c.waiting[0]
	c.waiting = c.waiting[1:]
	return first, true
}

// WriteWith sends bytes with a descriptor, which stays open here.
func (c *Connection) WriteWith(bytes []byte, descriptor int) (int, error) {
	n, _, err := c.WriteMsgUnix(bytes, unix.UnixRights(descriptor), nil)
	if err != nil || n == len(bytes) {
		return n, err
	}
	// The descriptor travels with the first byte; the rest needs no other.
	rest, err := c.Write(bytes[n:])
	return n + rest, err
}

// Close closes the connection and the descriptors that nobody has taken.
func (c *Connection) Close() error {
	c.mutex.Lock()
	c.closed = true
	closeAll(c.waiting)
	c.waiting = nil
	c.mutex.Unlock()
	return c.UnixConn.Close()
}

// Drop closes a descriptor that is not to be used.
func Drop(descriptor int) { _ = unix.Close(descriptor) }

func closeAll(descriptors []int) {
	for _, descriptor := range descriptors {
		Drop(descriptor)
	}
}

// SameUser refuses a peer that is another user's process: whoever could send gradients could also
// read those of others.
func (c *Connection) SameUser() error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var failure error
	if err := raw.Control(func(socket uintptr) {
		peer, failure = unix.GetsockoptUcred(int(socket), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if failure != nil {
		return fmt.Errorf("ask who is connected: %w", failure)
	}
	if own := unix.Getuid(); peer.Uid != uint32(own) {
		return fmt.Errorf("the connecting process %d is that of user %d, the orchestrator that of user %d; "+
			"start both as the same user", peer.Pid, peer.Uid, own)
	}
	return nil
}
