package wire

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// text takes a text of at most that many bytes. The bytes are looked at where they arrived: a text
// that is refused is never copied.
func text(what string, bytes []byte, err error, limit uint32) (string, error) {
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", what, err)
	case len(bytes) > int(limit):
		return "", fmt.Errorf("%s has %d bytes; it may have %d", what, len(bytes), limit)
	case !utf8.Valid(bytes):
		return "", fmt.Errorf("%s is not UTF-8", what)
	}
	return string(bytes), nil
}

// name takes the name of a worker, which is shown wherever the run is: what a terminal would obey
// is refused.
func name(what string, bytes []byte, err error, limit uint32) (string, error) {
	name, err := text(what, bytes, err, limit)
	if err == nil && strings.ContainsFunc(name, unicode.IsControl) {
		return "", fmt.Errorf("%s is %q; it must not have control characters", what, name)
	}
	return name, err
}

// startOf takes what a worker says when it leaves: a text that is too long is cut, since nobody
// would send a better one.
func startOf(bytes []byte, err error, limit uint32) (string, error) {
	if len(bytes) > int(limit) {
		bytes = bytes[:limit]
	}
	return strings.ToValidUTF8(string(bytes), ""), err
}
