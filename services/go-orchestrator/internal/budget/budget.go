// Package budget counts bytes against a limit, so that no peer can make the process take more
// memory than it was given.
package budget

import (
	"fmt"
	"sync/atomic"
)

// Budget is a number of bytes that may be in use. It is safe for use by several goroutines.
type Budget struct {
	name   string
	limit  int64
	used   atomic.Int64
	parent *Budget
}

// New makes a budget. Its name says in errors what has run out, such as "memory of the process".
func New(name string, limit int64) *Budget { return &Budget{name: name, limit: limit} }

// Child makes a budget whose bytes count against this one as well.
func (b *Budget) Child(name string, limit int64) *Budget {
	return &Budget{name: name, limit: limit, parent: b}
}

// ExhaustedError is the error of Take.
type ExhaustedError struct {
	Name               string
	Asked, Used, Limit int64
}

// Error names the budget and its figures.
func (e *ExhaustedError) Error() string {
	return fmt.Sprintf("%s: %d bytes more do not fit, %d of %d are in use", e.Name, e.Asked, e.Used, e.Limit)
}

// Take counts bytes as used, or changes nothing and returns an *ExhaustedError. It never takes
// fewer than none: a size that wrapped around would be a gift.
func (b *Budget) Take(bytes int64) error {
	for {
		used := b.used.Load()
		if bytes < 0 || bytes > b.limit-used {
			return &ExhaustedError{b.name, bytes, used, b.limit}
		}
		if b.used.CompareAndSwap(used, used+bytes) {
			break
		}
	}
	if b.parent != nil {
		if err := b.parent.Take(bytes); err != nil {
			b.used.Add(-bytes)
			return err
		}
	}
	return nil
}

// Owe counts bytes as used even where they do not fit: for what cannot be refused. Take refuses
// everything until as many bytes are free again.
func (b *Budget) Owe(bytes int64) {
	bytes = max(0, bytes)
	b.used.Add(bytes)
	if b.parent != nil {
		b.parent.Owe(bytes)
	}
}

// Give counts bytes as free again.
func (b *Budget) Give(bytes int64) {
	bytes = max(0, bytes)
	b.used.Add(-bytes)
	if b.parent != nil {
		b.parent.Give(bytes)
	}
}

// Used is how many bytes are taken.
func (b *Budget) Used() int64 { return b.used.Load() }

// Limit is how many bytes there are.
func (b *Budget) Limit() int64 { return b.limit }
