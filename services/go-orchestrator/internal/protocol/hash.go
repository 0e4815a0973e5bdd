package protocol

import (
	"encoding/hex"
	"fmt"
)

// Hash is a SHA-256, or a content hash, which has as many bytes.
type Hash [32]byte

// ParseHash takes a digest from a message. what names the field in the error.
func ParseHash(what string, data []byte) (Hash, error) {
	var hash Hash
	if len(data) != len(hash) {
		return hash, fmt.Errorf("%s has %d bytes; a hash has %d", what, len(data), len(hash))
	}
	copy(hash[:], data)
	return hash, nil
}

// String returns the digest in hexadecimal, as the run's files show it.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Short returns the first 12 hexadecimal digits, enough for a person to compare two.
func (h Hash) Short() string { return hex.EncodeToString(h[:6]) }

// MarshalText returns the hexadecimal form, for files.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads the hexadecimal form.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != 2*len(h) {
		return fmt.Errorf("a hash has %d hexadecimal digits; %q has %d", 2*len(h), text, len(text))
	}
	_, err := hex.Decode(h[:], text)
	return err
}
