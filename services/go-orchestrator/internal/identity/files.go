package identity

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/regular"
)

// Files of an identity directory.
const (
	authorityFile   = "authority.pem"   // the certificate of the run's authority
	certificateFile = "certificate.pem" // of this process
	keyFile         = "key.pem"         // its private key, PKCS#8
	revokedFile     = "revoked.pem"     // optional: the certificates that the authority has revoked
	tokenFile       = "token"           // optional: what opens the pages instead of a certificate
)

var allFiles = []string{authorityFile, certificateFile, keyFile, revokedFile, tokenFile}

// What is wrong is said with what to do about it.
const makeThem = "make it with `pangea certs`"

// files are the contents of an identity directory, which belong together.
type files struct {
	authority   *x509.CertPool
	certificate tls.Certificate
	name        Name
	revoked     map[string]struct{} // serial numbers
	token       []byte              // empty for none
}

// read loads a directory.
func read(dir string) (*files, error) {
	f := &files{revoked: map[string]struct{}{}}
	authority, err := f.readAuthority(dir)
	if err != nil {
		return nil, err
	}
	if err := f.readCertificate(dir); err != nil {
		return nil, err
	}
	if err := f.readRevoked(dir, authority); err != nil {
		return nil, err
	}
	token, err := regular.Read(filepath.Join(dir, tokenFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the token for pages: %w", err)
	}
	f.token = bytes.TrimSpace(token)
	return f, nil
}

func (f *files) readAuthority(dir string) ([]*x509.Certificate, error) {
	path := filepath.Join(dir, authorityFile)
	content, err := regular.Read(path)
	if err != nil {
		return nil, fmt.Errorf("read the authority's certificate: %w; %s", err, makeThem)
	}
	f.authority = x509.NewCertPool()
	var found []*x509.Certificate
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w; %s", path, err, makeThem)
		}
		f.authority.AddCert(certificate)
		found = append(found, certificate)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s has no certificate; %s", path, makeThem)
	}
	return found, nil
}

func (f *files) readCertificate(dir string) (err error) {
	path := filepath.Join(dir, certificateFile)
	certificate, err := regular.Read(path)
	if err == nil {
		var key []byte
		if key, err = regular.Read(filepath.Join(dir, keyFile)); err == nil {
			f.certificate, err = tls.X509KeyPair(certificate, key)
		}
	}
	if err != nil {
		return fmt.Errorf("read the certificate and its key: %w; %s", err, makeThem)
	}
	if f.name, err = NameOf(f.certificate.Leaf); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (f *files) readRevoked(dir string, authority []*x509.Certificate) error {
	path := filepath.Join(dir, revokedFile)
	content, err := regular.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the revoked certificates: %w", err)
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return fmt.Errorf("%s is not PEM; %s", path, makeThem)
	}
	list, err := x509.ParseRevocationList(block.Bytes)
	if err != nil {
		return fmt.Errorf("%s: %w; %s", path, err, makeThem)
	}
	if !signedByOne(list, authority) {
		return fmt.Errorf("%s is not signed by the authority in %s; use the files of one run", path, authorityFile)
	}
	for _, entry := range list.RevokedCertificateEntries {
		f.revoked[entry.SerialNumber.String()] = struct{}{}
	}
	return nil
}

func signedByOne(list *x509.RevocationList, authority []*x509.Certificate) bool {
	for _, certificate := range authority {
		if list.CheckSignatureFrom(certificate) == nil {
			return true
		}
	}
	return false
}

// stamp is what changes when the files do. Whoever renews them replaces them by renaming.
type stamp [5]struct {
	there    bool
	modified time.Time
	bytes    int64
}

func stampOf(dir string) (s stamp) {
	for i, name := range allFiles {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil {
			s[i].there, s[i].modified, s[i].bytes = true, info.ModTime(), info.Size()
		}
	}
	return s
}

// OpenToOthers returns the private files of a directory that every user of the machine can read.
func OpenToOthers(dir string) (open []string) {
	for _, name := range []string{keyFile, tokenFile} {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o004 != 0 {
			open = append(open, path)
		}
	}
	return open
}
