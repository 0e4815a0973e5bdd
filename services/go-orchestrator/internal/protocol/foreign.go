package protocol

import (
	"fmt"
	"strings"
	"unicode"
)

// maxForeign is how many bytes of a peer's text a sentence for people repeats.
const maxForeign = 100

// Foreign is a text of a peer as sentences for people repeat it: as it is, where it is short and
// harmless, else quoted and cut. What a terminal would obey never comes through.
func Foreign(text string) string {
	if len(text) > maxForeign {
		return fmt.Sprintf("%.100q... (%d bytes)", text[:maxForeign], len(text))
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }) {
		return fmt.Sprintf("%q", text)
	}
	return text
}
