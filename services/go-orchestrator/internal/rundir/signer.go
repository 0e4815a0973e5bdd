package rundir

import (
	"crypto/ed25519"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
)

// How long records may be without a signature while the run continues.
const signEvery = 30 * time.Second

// signer signs the ledger's head now and then, after each checkpoint and at the end, so that no
// step waits for it.
type signer struct {
	dir      *Dir
	key      ed25519.PrivateKey
	complain func(error)
	wanted   chan struct{} // has an element when the head is to be signed now
	ending   chan struct{}
	ended    chan struct{}
	signed   ledger.Head
}

func startSigner(dir *Dir, key ed25519.PrivateKey, complain func(error)) *signer {
	s := &signer{dir: dir, key: key, complain: complain, wanted: make(chan struct{}, 1), ending: make(chan struct{}),
		ended: make(chan struct{})}
	go s.run()
	return s
}

// want a signature of the records so far.
func (s *signer) want() {
	select {
	case s.wanted <- struct{}{}:
	default:
	}
}

func (s *signer) run() {
	defer close(s.ended)
	for {
		select {
		case <-s.wanted:
		case <-s.dir.clock.After(signEvery):
		case <-s.ending:
			return
		}
		s.sign()
	}
}

// sign signs the head, unless it is signed. The ledger does not depend on it: what fails is said
// once for each head, and tried again with the next one.
func (s *signer) sign() {
	head := s.dir.ledger.Head()
	if head == s.signed || head.Records == 0 {
		return
	}
	s.signed = head
	if err := s.dir.writeSignature(head.Sign(s.key)); err != nil {
		s.complain(err)
	}
}

// end signs the last head, after the ledger has been closed.
func (s *signer) end() {
	close(s.ending)
	<-s.ended
	s.sign()
}
