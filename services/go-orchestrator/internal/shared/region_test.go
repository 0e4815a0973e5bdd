package shared

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"pangea.example/pangea/services/go-orchestrator/internal/budget"
)

func TestWhatIsNotSealedMemoryOfItsSizeIsRefused(t *testing.T) {
	unsealed := func() int {
		descriptor, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Ftruncate(descriptor, 4096); err != nil {
			t.Fatal(err)
		}
		return descriptor
	}
	file := func() int {
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
			t.Fatal(err)
		}
		descriptor, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return descriptor
	}
	sealed := func() int {
		region, err := Create(4096, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer region.Release()
		descriptor, err := unix.FcntlInt(uintptr(region.Descriptor()), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return descriptor
	}
	for _, test := range []struct {
		of    string
		make  func() int
		bytes uint64
		want  string
	}{
		{"a file", file, 4096, ""}, // on a tmpfs it has seals, but not these
		{"memory that can be cut", unsealed, 4096, "has the seals 0x0"},
		{"memory of another size", sealed, 8192, "has 4096 bytes; 8192 were announced"},
		{"no memory", sealed, 0, "has 4096 bytes; 0 were announced"},
	} {
		before := descriptors(t)
		if _, err := Receive(test.make(), test.bytes, nil); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v; want %q", test.of, err, test.want)
		}
		if after := descriptors(t); after != before {
			t.Errorf("%s: its descriptor is still open", test.of)
		}
	}
}

func TestARegionIsUnmappedAfterItsLastHolder(t *testing.T) {
	freed := 0
	region, err := Create(4096, func() { freed++ })
	if err != nil {
		t.Fatal(err)
	}
	region.Retain().Release()
	region.Bytes()[4095] = 1
	if freed != 0 {
		t.Fatal("freed although it has a holder")
	}
	if region.Release(); freed != 1 {
		t.Fatalf("freed %d times", freed)
	}
}

func TestPiecesOfAnArena(t *testing.T) {
	t.Run("small ones share a region and do not overlap", func(t *testing.T) {
		arena := NewArena(budget.New("test", 1<<30), nil)
		a, err := arena.Take(1000)
		if err != nil {
			t.Fatal(err)
		}
		b, err := arena.Take(1000)
		if err != nil {
			t.Fatal(err)
		}
		if a.Region != b.Region || a.Offset != 0 || b.Offset != 1024 || len(b.Bytes) != 1000 {
			t.Fatalf("pieces at %d and %d of %d bytes", a.Offset, b.Offset, len(b.Bytes))
		}
		arena.Put(a)
		if again, err := arena.Take(1000); err != nil || again != a {
			t.Fatal("a piece that was put back is not used again")
		}
	})
	t.Run("a large one has a region of its own, which counts against the budget", func(t *testing.T) {
		memory := budget.New("test", 20<<20)
		arena := NewArena(memory, nil)
		a, err := arena.Take(10 << 20)
		if err != nil || a.Number != 1 {
			t.Fatal(a, err)
		}
		if b, err := arena.Take(10 << 20); err != nil || b.Number != 2 || memory.Used() != 20<<20 {
			t.Fatal(b, err, memory.Used())
		}
		var exhausted *budget.ExhaustedError
		if _, err := arena.Take(10 << 20); !errors.As(err, &exhausted) {
			t.Fatal(err)
		}
	})
	t.Run("one is prepared only while there is much memory", func(t *testing.T) {
		memory := budget.New("test", 40<<20)
		arena := NewArena(memory, nil)
		if _, err := arena.Take(10 << 20); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if arena.Prepare(); memory.Used() != 20<<20 {
				t.Fatalf("%d bytes in use; want two pieces", memory.Used())
			}
		}
		if _, err := arena.Take(10 << 20); err != nil {
			t.Fatal(err)
		}
		if arena.Prepare(); memory.Used() != 20<<20 {
			t.Fatalf("%d bytes in use; half of the budget is for others", memory.Used())
		}
	})
}
