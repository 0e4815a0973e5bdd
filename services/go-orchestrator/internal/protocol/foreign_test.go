package protocol

import (
	"strings"
	"testing"
)

func TestForeignTextsAreShortAndHarmless(t *testing.T) {
	for text, want := range map[string]string{
		"conv.weight":            "conv.weight",
		"größe 🐼":                "größe 🐼",
		"a\x1b]0;owned\x07":      `"a\x1b]0;owned\a"`,
		"a\xff":                  `"a\xff"`,
		strings.Repeat("x", 101): `"` + strings.Repeat("x", 100) + `"... (101 bytes)`,
	} {
		if got := Foreign(text); got != want {
			t.Errorf("%q becomes %s", text, got)
		}
	}
	if got := Foreign(strings.Repeat("é\n", 1<<20)); len(got) > 500 {
		t.Errorf("%d bytes", len(got))
	}
}
