// Package shared gives memory that processes of one machine share, and connections that its
// descriptors travel on.
//
// Memory is a memfd whose size and mappings are sealed: whoever receives it may read it for as long
// as it likes, whatever becomes of the process that made it, and nobody else can write to it.
// Nothing here has a name in a file system, so nothing is left behind by a killed process.
package shared

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// fSealFutureWrite forbids new writable mappings; package unix has it for other systems' numbers
// only.
const fSealFutureWrite = 0x10

// Sealed is what a region must have: its size stays (no SIGBUS in a reader), only the mapping that
// its creator has can write, and none of this can be changed.
const Sealed = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL | fSealFutureWrite

// Region is shared memory that is mapped into this process. Several holders share it.
type Region struct {
	memory     []byte
	descriptor int // -1 where the region is another process's
	holders    atomic.Int32
	free       func()
}

// Create makes a region, zeroed, with one holder. All of its pages exist afterwards: a machine that
// is out of memory refuses here, instead of killing a process that writes later. free, which may be
// nil, is called after the last holder.
func Create(bytes int64, free func()) (*Region, error) {
	descriptor, err := unix.MemfdCreate("pangea", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("create shared memory: %w", err)
	}
	memory, err := allocate(descriptor, bytes)
	if err != nil {
		_ = unix.Close(descriptor)
		return nil, fmt.Errorf("create %d bytes of shared memory: %w", bytes, err)
	}
	r := &Region{memory: memory, descriptor: descriptor, free: free}
	r.holders.Store(1)
	return r, nil
}

// allocate sizes, maps and seals a memfd. The mapping comes before the seals, which forbid it.
func allocate(descriptor int, bytes int64) ([]byte, error) {
	if err := unix.Ftruncate(descriptor, bytes); err != nil {
		return nil, err
	}
	if err := unix.Fallocate(descriptor, 0, 0, bytes); err != nil {
		return nil, err
	}
	memory, err := unix.Mmap(descriptor, 0, int(bytes), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, err
	}
	// Fewer page faults where the system allows large pages of shared memory; no loss where it does
	// not.
	_ = unix.Madvise(memory, unix.MADV_HUGEPAGE)
	if _, err := unix.FcntlInt(uintptr(descriptor), unix.F_ADD_SEALS, Sealed); err != nil {
		_ = unix.Munmap(memory)
		return nil, fmt.Errorf("seal it: %w", err)
	}
	return memory, nil
}

// Receive maps another process's region read-only, with one holder, and closes the descriptor in
// any case. The error says in what it is not one, or that it could not be mapped.
func Receive(descriptor int, bytes uint64, free func()) (*Region, error) {
	defer unix.Close(descriptor)
	seals, err := unix.FcntlInt(uintptr(descriptor), unix.F_GET_SEALS, 0)
	if err != nil {
		return nil, fmt.Errorf("the descriptor is not one of shared memory: %w", err)
	}
	if seals&Sealed != Sealed {
		return nil, fmt.Errorf("the memory has the seals %#x; it must have %#x", seals, Sealed)
	}
	var status unix.Stat_t
	if err := unix.Fstat(descriptor, &status); err != nil {
		return nil, fmt.Errorf("look at shared memory: %w", err)
	}
	if bytes == 0 || uint64(status.Size) != bytes {
		return nil, fmt.Errorf("the memory has %d bytes; %d were announced", status.Size, bytes)
	}
	memory, err := unix.Mmap(descriptor, 0, int(bytes), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes of shared memory: %w", bytes, err)
	}
	r := &Region{memory: memory, descriptor: -1, free: free}
	r.holders.Store(1)
	return r, nil
}

// Bytes of the region. They must not be used after the last Release, and those of another process
// not be written to: both end this process.
func (r *Region) Bytes() []byte { return r.memory }

// Descriptor to be sent to other processes; -1 where the region is another process's.
func (r *Region) Descriptor() int { return r.descriptor }

// Retain adds a holder.
func (r *Region) Retain() *Region {
	r.holders.Add(1)
	return r
}

// Release drops a holder; after the last one the memory is unmapped.
func (r *Region) Release() {
	switch left := r.holders.Add(-1); {
	case left == 0:
		_ = unix.Munmap(r.memory)
		r.memory = nil
		if r.descriptor >= 0 {
			_ = unix.Close(r.descriptor)
			r.descriptor = -1
		}
		if r.free != nil {
			r.free()
		}
	case left < 0:
		panic("shared: a region was released more often than retained")
	}
}
