package contenthash

import (
	"encoding/hex"
	"encoding/json"
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
