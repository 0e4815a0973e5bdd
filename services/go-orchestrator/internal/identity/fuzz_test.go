package identity_test

import (
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pangea.example/pangea/services/go-orchestrator/internal/identity"
	"pangea.example/pangea/services/go-orchestrator/internal/identity/identitytest"
)

// A name has one form: two certificates with different URIs are of different holders.
func FuzzName(f *testing.F) {
	for _, uri := range []string{"pangea://r/worker/w-1", "pangea://r/orchestrator/o", "pangea://r/worker/*",
		"https://r/worker/w", "pangea://r/worker/a%2Fb", "pangea://user@r:80/worker/w?a=b#c"} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, text string) {
		uri, err := url.Parse(text)
		if err != nil {
			return
		}
		name, err := identity.NameOf(&x509.Certificate{URIs: []*url.URL{uri}})
		if err == nil && name.String() != uri.String() {
			t.Fatalf("%q is taken for %q", uri, name)
		}
	})
}

var identityFiles = []string{"authority.pem", "certificate.pem", "key.pem", "revoked.pem", "token"}

// Whatever is in a file of an identity directory, it is read or refused; what is refused changes
// nothing for the identity that is in use.
func FuzzFiles(f *testing.F) {
	authority := identitytest.New(f, now)
	dir, serial := authority.Issue("pangea://r/orchestrator/o")
	authority.Revoke(serial, dir)
	valid := map[string][]byte{}
	for number, name := range identityFiles {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			content = []byte("a token\n")
		}
		valid[name] = content
		f.Add(uint8(number), content)
		if block, _ := pem.Decode(content); block != nil {
			f.Add(uint8(number)|encoded, block.Bytes)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, content []byte) {
		dir := t.TempDir()
		name := identityFiles[int(which&^encoded)%len(identityFiles)]
		write := func(name string, content []byte) {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for name, content := range valid {
			write(name, content)
		}
		opened, err := identity.Open(dir, identity.Orchestrator, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		before := opened.Name()
		if which&encoded != 0 {
			content = pem.EncodeToMemory(&pem.Block{Type: kinds[name], Bytes: content})
		}
		write(name, content)
		if _, err := opened.Refresh(); err != nil && opened.Name() != before {
			t.Fatalf("after an error the process is %s instead of %s", opened.Name(), before)
		}
		if opened.Name().Role != identity.Orchestrator {
			t.Fatalf("the process became %s", opened.Name())
		}
	})
}

// encoded in the choice of a file makes PEM of the content.
const encoded = 0x80

var kinds = map[string]string{"authority.pem": "CERTIFICATE", "certificate.pem": "CERTIFICATE",
	"key.pem": "PRIVATE KEY", "revoked.pem": "X509 CRL", "token": "TOKEN"}
