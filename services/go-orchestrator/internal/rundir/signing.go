package rundir

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"pangea.example/pangea/services/go-orchestrator/internal/ledger"
	"pangea.example/pangea/services/go-orchestrator/internal/regular"
)

// Files of the ledger's signature.
const (
	keyFile       = "ledger.key" // the private key, in the identity directory or the run directory
	publicFile    = "ledger.pub"
	signatureFile = "ledger.signature"
)

// ErrNoKey is the error of Sign for a run whose ledger names a key that is not there.
var ErrNoKey = errors.New("the private key that the ledger names is missing")

// Sign has the head of the ledger signed from now on, beside the event loop, and returns the public
// key for the ledger's first record. A new run has a key of its own, or that of the identity
// directory ("" for none). One that began without a key stays without.
func (d *Dir) Sign(identity string, past ledger.Records, complain func(error)) (public string, err error) {
	if past != nil {
		if public, err = keyOf(past); err != nil || public == "" {
			return "", err
		}
	}
	key, err := d.findKey(identity, public)
	if err != nil {
		return public, err
	}
	if err := d.publish(key); err != nil {
		return public, err
	}
	d.signer = startSigner(d, key, complain)
	return ledger.PublicKey(key), nil
}

// keyOf returns the key that the first record of a ledger names; "" for none.
func keyOf(past ledger.Records) (public string, err error) {
	first := errors.New("the first record was read")
	err = past.Each(func(record ledger.Record) error {
		if settings, is := record.(*ledger.Settings); is {
			public = settings.PublicKey
		}
		return first
	})
	if errors.Is(err, first) {
		err = nil
	}
	return public, err
}

// findKey reads the key that the ledger names, or makes one where it names none yet.
func (d *Dir) findKey(identity, public string) (ed25519.PrivateKey, error) {
	folders := []string{d.path}
	if identity != "" {
		folders = []string{identity, d.path}
	}
	for _, folder := range folders {
		key, err := readKey(filepath.Join(folder, keyFile))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if public == "" || ledger.PublicKey(key) == public {
			return key, nil
		}
	}
	if public != "" {
		return nil, fmt.Errorf("%w: put %s back into %s; until then the ledger grows without a signature", ErrNoKey,
			keyFile, d.path)
	}
	return d.makeKey()
}

func readKey(path string) (ed25519.PrivateKey, error) {
	content, err := regular.Read(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, fmt.Errorf("%s is not PEM; put back the key of the run, or remove it before a run begins", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s is not a private key: %w", path, err)
	}
	key, is := parsed.(ed25519.PrivateKey)
	if !is {
		return nil, fmt.Errorf("%s is not an Ed25519 key, which ledgers are signed with", path)
	}
	return key, nil
}

func (d *Dir) makeKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key for the ledger: %w", err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the ledger's key: %w", err)
	}
	content := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
	return key, writePrivate(d.root, keyFile, content)
}

// publish writes the public key beside the ledger, for whoever is given a copy of both.
func (d *Dir) publish(key ed25519.PrivateKey) error {
	encoded, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("encode the ledger's public key: %w", err)
	}
	content := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: encoded})
	return writeFile(d.root, publicFile, content)
}

func (d *Dir) writeSignature(of ledger.Signature) error {
	text, err := json.Marshal(of)
	if err != nil {
		return fmt.Errorf("encode the signature of the ledger: %w", err)
	}
	return writeFile(d.root, signatureFile, append(text, '\n'))
}
