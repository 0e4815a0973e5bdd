package httpapi

import (
	"container/list"
	"net"
	"sync"
)

// MaxConnections to the pages. They are a few, so that whoever holds them open takes no descriptors
// from workers.
const MaxConnections = 64

// Bounded returns a listener that has at most that many connections open: for the next one, the
// oldest of the address with the most of them is closed. A page takes milliseconds, so that a probe
// is answered however many clients are slow or silent, and however fast somebody else opens others.
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
		oldest = c.oldest()
		oldest.leave()
	}
	next.place = c.open.PushBack(next)
	c.mutex.Unlock()
	if oldest != nil {
		_ = oldest.Conn.Close()
	}
	return next, nil
}

// oldest returns the client that has waited longest at the address with the most clients.
func (c *crowd) oldest() *client {
	most, first := "", map[string]*client{}
	count := map[string]int{}
	for e := c.open.Front(); e != nil; e = e.Next() {
		one := e.Value.(*client)
		host := one.host()
		if count[host]++; count[host] == 1 {
			first[host] = one
		}
		if count[host] > count[most] {
			most = host
		}
	}
	return first[most]
}

// host is the address that a client comes from, without its port.
func (c *client) host() string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	return host
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
