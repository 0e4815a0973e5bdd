package contenthash

import (
	"cmp"
	"crypto/sha256"
	"fmt"

	"pangea.example/pangea/schemas/tensor"
)

// Method is how the tensors of a run are hashed.
type Method uint16

// The methods of the schema. SHA256 is that of runs that began before there was another one.
const (
	SHA256   = Method(tensor.ContentHash_sha256)
	XXH3Tree = Method(tensor.ContentHash_xxh3Tree)
)

// String returns the schema's name, which is also that in the run's files.
func (m Method) String() string {
	return cmp.Or(tensor.ContentHash(m).String(), fmt.Sprintf("content hash %d", uint16(m)))
}

// ParseMethod finds a method by its name.
func ParseMethod(name string) (Method, error) {
	for _, method := range []Method{SHA256, XXH3Tree} {
		if method.String() == name {
			return method, nil
		}
	}
	return 0, fmt.Errorf("the content hash %q is unknown; this release knows %s and %s", name, SHA256, XXH3Tree)
}

// Of hashes tensors whose bytes are at hand.
func (m Method) Of(tensors ...[]byte) [32]byte {
	if m == SHA256 {
		sum := sha256.New()
		for _, data := range tensors {
			sum.Write(data)
		}
		return [32]byte(sum.Sum(nil))
	}
	hashed := make([]Tensor, len(tensors))
	for i, data := range tensors {
		hashed[i] = Tensor{uint64(len(data)), Leaves(data)}
	}
	return Root(hashed...)
}
