package shared

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// childVariable of the environment makes this test program the other process of a test: its value
// is the socket to connect to.
const childVariable = "SHARED_TEST_SOCKET"

func TestMain(m *testing.M) {
	if path := os.Getenv(childVariable); path != "" {
		if err := child(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child makes a region, sends it, and writes to it with no end.
func child(path string) error {
	region, err := Create(1<<20, nil)
	if err != nil {
		return err
	}
	connection, err := Dial(path)
	if err != nil {
		return err
	}
	if _, err := connection.WriteWith([]byte("region"), region.Descriptor()); err != nil {
		return err
	}
	for value := byte(1); ; value |= 1 {
		for i := range region.Bytes() {
			region.Bytes()[i] = value
		}
		value++
	}
}

// received is the region of a child, and the child.
func received(t *testing.T) (*Region, int, *Connection, *exec.Cmd) {
	t.Helper()
	listener, err := Listen(filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), childVariable+"="+listener.path)
	other.Stderr = os.Stderr
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	connection := accepted.(*Connection)
	if err := connection.SameUser(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(connection, make([]byte, len("region"))); err != nil {
		t.Fatal(err)
	}
	descriptor, arrived := connection.Descriptor()
	if !arrived {
		t.Fatal("no descriptor came with the bytes")
	}
	copied, err := unix.FcntlInt(uintptr(descriptor), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	region, err := Receive(descriptor, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	return region, copied, connection, other
}

func TestAReceiverCanOnlyRead(t *testing.T) {
	region, descriptor, connection, _ := received(t)
	defer region.Release()
	defer connection.Close()
	defer unix.Close(descriptor)
	if unix.Ftruncate(descriptor, 0) == nil || unix.Ftruncate(descriptor, 2<<20) == nil {
		t.Fatal("its size was changed")
	}
	if _, err := unix.Pwrite(descriptor, []byte{1}, 0); err == nil {
		t.Fatal("it was written to")
	}
	for _, flag := range []int{unix.O_RDWR, unix.O_RDONLY} {
		again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", descriptor), flag|unix.O_CLOEXEC, 0)
		if err != nil {
			continue // the system does not let it be opened so, which is as good
		}
		if _, err := unix.Mmap(again, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err == nil {
			t.Fatal("it was mapped to be written to")
		}
		_ = unix.Close(again)
	}
	if _, err := unix.FcntlInt(uintptr(descriptor), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); err == nil {
		t.Fatal("a seal was added")
	}
}

func TestMemoryOutlivesTheKilledProcessThatWritesToIt(t *testing.T) {
	region, descriptor, connection, other := received(t)
	_ = unix.Close(descriptor)
	if err := other.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if n, err := connection.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("read %d bytes, %v; want the end of the connection", n, err)
	}
	sum := 0
	for _, value := range region.Bytes() {
		sum += int(value)
	}
	if again := 0; sum >= 0 {
		for _, value := range region.Bytes() {
			again += int(value)
		}
		if again != sum {
			t.Fatal("memory changes although its writer is dead")
		}
	}
	region.Release()
	_ = connection.Close()
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func pair(t *testing.T) (*Connection, *Connection) {
	t.Helper()
	sockets, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*Connection
	for i, socket := range sockets {
		file := os.NewFile(uintptr(socket), "socket")
		connection, err := net.FileConn(file)
		if err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		ends[i] = NewConnection(connection.(*net.UnixConn))
	}
	return ends[0], ends[1]
}

func TestDescriptorsArriveInOrderAndNoneIsLeftBehind(t *testing.T) {
	before := descriptors(t)
	left, right := pair(t)
	for i := range 5 {
		region, err := Create(int64(i+1)*4096, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := left.WriteWith([]byte{byte(i)}, region.Descriptor()); err != nil {
			t.Fatal(err)
		}
		region.Release()
	}
	if _, err := io.ReadFull(right, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		descriptor, arrived := right.Descriptor()
		if !arrived {
			t.Fatalf("descriptor %d is missing", i)
		}
		region, err := Receive(descriptor, uint64(i+1)*4096, nil)
		if err != nil {
			t.Fatal(err)
		}
		region.Release()
	}
	_ = left.Close()
	_ = right.Close() // with two that nobody took
	if after := descriptors(t); after != before {
		t.Fatalf("%d descriptors are open; there were %d", after, before)
	}
}

func TestAPeerThatOnlySendsDescriptorsIsRefused(t *testing.T) {
	before := descriptors(t)
	left, right := pair(t)
	region, err := Create(4096, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range maxWaiting + 1 {
		if _, err := left.WriteWith([]byte{0}, region.Descriptor()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.ReadFull(right, make([]byte, maxWaiting+1)); err == nil {
		t.Fatal("accepted")
	}
	region.Release()
	_ = left.Close()
	_ = right.Close()
	if after := descriptors(t); after != before {
		t.Fatalf("%d descriptors are open; there were %d", after, before)
	}
}
