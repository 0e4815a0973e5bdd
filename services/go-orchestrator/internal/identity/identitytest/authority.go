// Package identitytest makes identity directories for tests.
package identitytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority of a run.
type Authority struct {
	t           testing.TB
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	serial      int64
	revoked     []x509.RevocationListEntry
	now         time.Time
}

// New makes an authority, whose certificates are valid from an hour before now to an hour after.
func New(t testing.TB, now time.Time) *Authority {
	t.Helper()
	a := &Authority{t: t, key: newKey(t), now: now}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Pangea test"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	a.certificate = a.sign(template, template, &a.key.PublicKey, a.key)
	return a
}

// Issue makes a directory for whom the URI names. It returns the directory and the serial number.
func (a *Authority) Issue(uri string) (dir string, serial int64) {
	a.t.Helper()
	return a.IssueUntil(uri, a.now.Add(time.Hour))
}

// IssueUntil makes a directory whose certificate expires then.
func (a *Authority) IssueUntil(uri string, end time.Time) (dir string, serial int64) {
	a.t.Helper()
	dir = a.t.TempDir()
	return dir, a.Renew(dir, uri, end)
}

// Renew replaces certificate and key in a directory.
func (a *Authority) Renew(dir, uri string, end time.Time) (serial int64) {
	a.t.Helper()
	parsed, err := url.Parse(uri)
	a.must(err)
	a.serial++
	key := newKey(a.t)
	certificate := a.sign(&x509.Certificate{SerialNumber: big.NewInt(1000 + a.serial), NotBefore: a.now.Add(-time.Hour),
		NotAfter: end, URIs: []*url.URL{parsed}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}},
		a.certificate, &key.PublicKey, a.key)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	a.must(err)
	write := func(name, kind string, content []byte) { a.write(dir, name, kind, content, 0o600) }
	write("key.pem", "PRIVATE KEY", private)
	write("certificate.pem", "CERTIFICATE", certificate.Raw)
	write("authority.pem", "CERTIFICATE", a.certificate.Raw)
	return 1000 + a.serial
}

// Revoke adds a certificate to the list of those that are revoked, and writes it to directories.
func (a *Authority) Revoke(serial int64, dirs ...string) {
	a.t.Helper()
	a.revoked = append(a.revoked, x509.RevocationListEntry{SerialNumber: big.NewInt(serial), RevocationTime: a.now})
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(int64(len(a.revoked))),
		ThisUpdate: a.now.Add(-time.Hour), NextUpdate: a.now.Add(time.Hour), RevokedCertificateEntries: a.revoked},
		a.certificate, a.key)
	a.must(err)
	for _, dir := range dirs {
		a.write(dir, "revoked.pem", "X509 CRL", list, 0o644)
	}
}

func (a *Authority) sign(template, parent *x509.Certificate, public *ecdsa.PublicKey,
	key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	a.must(err)
	certificate, err := x509.ParseCertificate(der)
	a.must(err)
	return certificate
}

// write replaces a file, by renaming.
func (a *Authority) write(dir, name, kind string, content []byte, mode os.FileMode) {
	a.t.Helper()
	path := filepath.Join(dir, name)
	a.must(os.WriteFile(path+".new", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), mode))
	a.must(os.Rename(path+".new", path))
}

func (a *Authority) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
