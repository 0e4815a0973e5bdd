package registry

import (
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	fake "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func TestPushedImageCanBePulledByItsDigest(t *testing.T) {
	server := httptest.NewServer(fake.New(fake.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	image, err := random.Image(1024, 2)
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := Push(t.Context(), image, strings.TrimPrefix(server.URL, "http://")+"/pangea/x:v1", true)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(pushed, "/pangea/x@"+digest.String()) {
		t.Errorf("pushed as %s", pushed)
	}
	reference, err := name.NewDigest(pushed, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(pulled); err != nil {
		t.Error(err)
	}
}

func TestPushSaysWhereItFailed(t *testing.T) {
	server := httptest.NewServer(fake.New(fake.Logger(log.New(io.Discard, "", 0))))
	address := strings.TrimPrefix(server.URL, "http://")
	server.Close()
	image, err := random.Image(16, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Push(t.Context(), image, address+"/pangea/x:v1", true); err == nil || !strings.Contains(err.Error(), address) {
		t.Errorf("a registry that is not there gave %v", err)
	}
	if _, err := Push(t.Context(), image, "not a name", false); err == nil || !strings.Contains(err.Error(), "where to push to") {
		t.Errorf("a wrong name gave %v", err)
	}
}
