package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
)

// Alive asks /healthz of the service at an address, HOST:PORT. over is how the service is known,
// nil where it has no identity. The error says why the service does not count as alive.
func Alive(ctx context.Context, address string, over *tls.Config) error {
	if over == nil {
		return alive(ctx, "http", address, nil)
	}
	err := alive(ctx, "https", address, over)
	if plain := (tls.RecordHeaderError{}); errors.As(err, &plain) {
		return alive(ctx, "http", address, nil) // as on the loopback
	}
	return err
}

func alive(ctx context.Context, scheme, address string, over *tls.Config) error {
	url := scheme + "://" + address + "/healthz"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("%q is not an address; it must be HOST:PORT: %w", address, err)
	}
	// Without a proxy: a probe runs on the machine of its service.
	direct := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: over}}
	answer, err := direct.Do(request)
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, answer.Status)
	}
	return nil
}
