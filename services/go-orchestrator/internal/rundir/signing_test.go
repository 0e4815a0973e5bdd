package rundir

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pangea.example/pangea/services/go-orchestrator/internal/clock"
	"pangea.example/pangea/services/go-orchestrator/internal/failpoint"
	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/run"
)

// signed opens a directory whose ledger is signed, and begins the ledger if it is new.
func signed(t *testing.T, path, identity string) (*Dir, run.Past, string) {
	t.Helper()
	dir, past, err := Open(path, clock.System{}, failpoint.Never)
	if err != nil {
		t.Fatal(err)
	}
	public, err := dir.Sign(identity, past.Records, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	if past.Records == nil {
		err = dir.Commit([]ledger.Record{&ledger.Settings{RunID: "r", PublicKey: public}})
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, past, public
}

// verify reads the signature beside a ledger, as somebody with the public key does.
func verify(t *testing.T, path string) (ledger.Signature, bool) {
	t.Helper()
	var found ledger.Signature
	text, err := os.ReadFile(filepath.Join(path, signatureFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &found); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(path, publicFile))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(content)
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := hex.DecodeString(found.Signature)
	if err != nil {
		t.Fatal(err)
	}
	message := fmt.Sprintf("pangea ledger head %d %s\n", found.Records, found.Chain)
	return found, ed25519.Verify(public.(ed25519.PublicKey), []byte(message), signature)
}

func TestTheHeadIsSignedWhenTheRunStops(t *testing.T) {
	path := t.TempDir()
	dir, _, public := signed(t, path, "")
	if err := dir.Commit([]ledger.Record{&ledger.Start{}}); err != nil {
		t.Fatal(err)
	}
	head := dir.ledger.Head()
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	found, valid := verify(t, path)
	if !valid || found.Records != 2 || found.Chain != head.Chain || found.Key != public {
		t.Errorf("the signature is %+v (valid: %v)", found, valid)
	}
	info, err := os.Stat(filepath.Join(path, keyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's mode is %v (%v)", info.Mode(), err)
	}

	// A run that continues signs with the same key.
	dir, _, again := signed(t, path, "")
	if again != public {
		t.Errorf("the key is %s; it was %s", again, public)
	}
	if err := errors.Join(dir.Commit([]ledger.Record{&ledger.Start{}}), dir.Close()); err != nil {
		t.Fatal(err)
	}
	if found, valid := verify(t, path); !valid || found.Records != 3 {
		t.Errorf("the signature is %+v (valid: %v)", found, valid)
	}
}

func TestACheckpointIsSignedWhileTheRunContinues(t *testing.T) {
	path := t.TempDir()
	dir, _, _ := signed(t, path, "")
	defer dir.Close()
	if err := dir.Commit([]ledger.Record{&ledger.Checkpoint{}}); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(path, signatureFile)); err == nil {
			break
		}
	}
	if found, valid := verify(t, path); !valid || found.Records != 2 {
		t.Errorf("the signature is %+v (valid: %v)", found, valid)
	}
}

func TestAnIdentityMayHaveTheKey(t *testing.T) {
	first, identity := t.TempDir(), t.TempDir()
	dir, _, public := signed(t, first, "")
	if err := errors.Join(dir.Close(), os.Rename(filepath.Join(first, keyFile), filepath.Join(identity, keyFile))); err != nil {
		t.Fatal(err)
	}
	second := t.TempDir()
	dir, _, found := signed(t, second, identity)
	if err := dir.Close(); err != nil || found != public {
		t.Errorf("the key is %s (%v)", found, err)
	}
	if _, err := os.Stat(filepath.Join(second, keyFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the run directory has a key: %v", err)
	}
}

func TestARunWithoutItsKeyIsNotSigned(t *testing.T) {
	path := t.TempDir()
	dir, _, _ := signed(t, path, "")
	if err := errors.Join(dir.Close(), os.Remove(filepath.Join(path, keyFile))); err != nil {
		t.Fatal(err)
	}
	dir, past, err := Open(path, clock.System{}, failpoint.Never)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if _, err := dir.Sign("", past.Records, func(err error) { t.Error(err) }); !errors.Is(err, ErrNoKey) {
		t.Errorf("without the key: %v", err)
	}
}

func TestARunThatBeganWithoutAKeyStaysWithout(t *testing.T) {
	path := t.TempDir()
	dir, _, err := Open(path, clock.System{}, failpoint.Never)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(dir.Commit([]ledger.Record{&ledger.Settings{RunID: "r"}}), dir.Close()); err != nil {
		t.Fatal(err)
	}
	dir, _, public := signed(t, path, "")
	if err := dir.Close(); err != nil || public != "" {
		t.Errorf("the key is %q (%v)", public, err)
	}
	if _, err := os.Stat(filepath.Join(path, signatureFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a signature: %v", err)
	}
}
