package contenthash

import (
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// golden is what all languages must get; libraries/content-hash/README.md says who made it.
type golden struct {
	Tensors  [][2]uint64 // start and size, see content
	Leaves   [][]string
	XXH3Tree string `json:"xxh3Tree"`
	SHA256   string `json:"sha256"`
}

func readGolden(t *testing.T) []golden {
	t.Helper()
	text, err := os.ReadFile("../../../../libraries/content-hash/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []golden
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 20 {
		t.Fatalf("only %d cases", len(cases))
	}
	return cases
}

// content makes the bytes of a tensor.
func content(start, size uint64) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte((start + uint64(i)) * 0x9E3779B97F4A7C15 >> 56)
	}
	return data
}

func TestHashesAreThoseOfEveryLanguage(t *testing.T) {
	for _, test := range readGolden(t) {
		var tensors [][]byte
		for _, t := range test.Tensors {
			tensors = append(tensors, content(t[0], t[1]))
		}
		for method, want := range map[Method]string{XXH3Tree: test.XXH3Tree, SHA256: test.SHA256} {
			hash := method.Of(tensors...)
			if got := hex.EncodeToString(hash[:]); got != want {
				t.Errorf("%s of %v is %s; want %s", method, test.Tensors, got, want)
			}
		}
		for i, data := range tensors {
			var got []string
			for _, leaf := range Leaves(data) {
				got = append(got, hex.EncodeToString(leaf[:]))
			}
			if !slices.Equal(got, test.Leaves[i]) {
				t.Errorf("the leaves of %v are %v; want %v", test.Tensors[i], got, test.Leaves[i])
			}
		}
	}
}

func TestPartsOfABlockGiveItsLeaf(t *testing.T) {
	source := rand.New(rand.NewPCG(1, 2))
	var hasher LeafHasher
	for _, size := range []uint64{0, 1, 240, 241, 1088, 1089, 70_000, uint64(BlockBytes)} {
		data := content(3, size)
		for _, longest := range []int{1 + int(size)/3, 64 << 10, 1 + int(size)} {
			for rest := data; len(rest) > 0; {
				part := rest[:min(len(rest), 1+source.IntN(longest))]
				hasher.Write(part)
				rest = rest[len(part):]
			}
			if got, want := hasher.Leaf(), LeafOf(data); got != want {
				t.Errorf("%d bytes in parts of up to %d: %x; want %x", size, longest, got, want)
			}
		}
	}
}

func TestMethodsHaveTheNamesOfTheSchema(t *testing.T) {
	for _, method := range []Method{SHA256, XXH3Tree} {
		if got, err := ParseMethod(method.String()); err != nil || got != method {
			t.Errorf("%s is read as %s (%v)", method, got, err)
		}
	}
	for _, name := range []string{"", "content hash 7", "SHA256"} {
		if method, err := ParseMethod(name); err == nil {
			t.Errorf("%q is read as %s", name, method)
		}
	}
}
