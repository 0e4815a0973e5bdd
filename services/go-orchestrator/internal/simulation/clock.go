// Package simulation drives the orchestrator's real state machine and its real ledger through
// random histories: workers, network, disk and clock are simulated, every choice comes from one
// seed, so that a failing history can be played again.
package simulation

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// clock runs what is due in the order of time, and in the order of scheduling where times are
// equal.
type clock struct {
	now   time.Time
	asked int
	queue queue
	dice  *rand.Rand
}

type entry struct {
	at     time.Time
	number int
	do     func()
}

type queue []entry

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].number < q[j].number
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(entry)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func newClock(seed uint64) *clock {
	return &clock{now: time.Unix(1_000_000, 0), dice: rand.New(rand.NewPCG(seed, 1))}
}

func (c *clock) at(when time.Time, do func()) {
	c.asked++
	heap.Push(&c.queue, entry{when, c.asked, do})
}

func (c *clock) after(pause time.Duration, do func()) { c.at(c.now.Add(pause), do) }

// run until done, or until the limit is reached or nothing is left to do.
func (c *clock) run(limit time.Duration, done func() bool) {
	end := c.now.Add(limit)
	for len(c.queue) > 0 && !done() {
		next := heap.Pop(&c.queue).(entry)
		if next.at.After(end) {
			return
		}
		c.now = next.at
		next.do()
	}
}

// between gives a random duration.
func (c *clock) between(low, high time.Duration) time.Duration {
	return low + time.Duration(c.dice.Int64N(int64(high-low)+1))
}

func (c *clock) chance(p float64) bool { return c.dice.Float64() < p }
