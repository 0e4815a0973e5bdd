package httpapi

import (
	"container/list"
	"net"
	"sync"
)

// MaxConnections to the pages. They are a few, so that whoever holds them open takes no descriptors
// from workers.
const MaxConnections = 64

// Bounded returns a listener that has at most that many connections open: the oldest is closed for
// the next one. A page takes milliseconds, so that a probe is answered however many clients are
// slow or silent.
func Bounded(listener net.Listener, most int) net.Listener {
	return &crowd{Listener: listener, most: most, open: list.New()}
}

type crowd struct {
	net.Listener
	most  int
	mutex sync.Mutex
	open  *list.List // *client, the oldest first
}

// client is a connection that leaves the crowd when it is closed.
type client struct {
	net.Conn
	crowd *crowd
	place *list.Element // nil once it has left; guarded by the crowd's mutex
}

// Accept waits for a connection, and closes the oldest one if there are too many with it.
func (c *crowd) Accept() (net.Conn, error) {
	connection, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	next := &client{Conn: connection, crowd: c}
	var oldest *client
	c.mutex.Lock()
	if c.open.Len() >= c.most {
		oldest = c.open.Front().Value.(*client)
		oldest.leave()
	}
	next.place = c.open.PushBack(next)
	c.mutex.Unlock()
	if oldest != nil {
		_ = oldest.Conn.Close()
	}
	return next, nil
}

// leave frees the client's place.
func (c *client) leave() {
	if c.place != nil {
		c.crowd.open.Remove(c.place)
		c.place = nil
	}
}

// Close closes the connection.
func (c *client) Close() error {
	c.crowd.mutex.Lock()
	c.leave()
	c.crowd.mutex.Unlock()
	return c.Conn.Close()
}
