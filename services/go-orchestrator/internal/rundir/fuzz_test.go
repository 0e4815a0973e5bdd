package rundir

import (
	"bytes"
	"testing"
)

// The lines that are kept of a metrics.jsonl are whole, and the same ones when it is read again.
func FuzzCountLines(f *testing.F) {
	f.Add([]byte("{\"step\":0,\"loss\":0.5}\n{\"step\":1,\"loss\":0.25}\n"))
	f.Add([]byte("{\"step\":0}\n{\"step\":0}\n"))
	f.Add([]byte("{\"step\":0}\n{\"step\":"))
	f.Fuzz(func(t *testing.T, content []byte) {
		lines, kept, err := countLines(bytes.NewReader(content))
		if err != nil || kept > int64(len(content)) || kept > 0 && content[kept-1] != '\n' {
			t.Fatalf("%d lines, %d of %d bytes: %v", lines, kept, len(content), err)
		}
		again, bytes, err := countLines(bytes.NewReader(content[:kept]))
		if err != nil || again != lines || bytes != kept || uint64(bytes) < lines {
			t.Fatalf("%d lines in %d bytes became %d in %d: %v", lines, kept, again, bytes, err)
		}
	})
}
