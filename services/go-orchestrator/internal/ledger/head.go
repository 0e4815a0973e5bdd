package ledger

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"

	"pangea.example/pangea/services/go-orchestrator/internal/protocol"
)

// Head is how far a ledger has got. Its chain hash covers all records.
type Head struct {
	Records uint64
	Chain   protocol.Hash // of the last record
}

// Head is that of what is committed. It may be called beside the other methods.
func (l *Ledger) Head() Head {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return Head{l.last.Records, l.last.Chain}
}

// Signature is the content of the file beside the ledger: who wrote it, up to which record. The
// chain of hashes alone could be made by anybody.
type Signature struct {
	Records   uint64        `json:"records"`
	Chain     protocol.Hash `json:"chain"`
	Key       string        `json:"key"`       // the public key, hexadecimal
	Signature string        `json:"signature"` // hexadecimal
}

// Sign signs a head with the key of the run.
func (h Head) Sign(key ed25519.PrivateKey) Signature {
	message := fmt.Appendf(nil, "pangea ledger head %d %s\n", h.Records, h.Chain)
	return Signature{h.Records, h.Chain, PublicKey(key), hex.EncodeToString(ed25519.Sign(key, message))}
}

// PublicKey is how the ledger's first record and a signature name a key.
func PublicKey(key ed25519.PrivateKey) string {
	return hex.EncodeToString(key.Public().(ed25519.PublicKey))
}
