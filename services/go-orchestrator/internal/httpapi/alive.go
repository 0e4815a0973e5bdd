package httpapi

import (
	"context"
	"fmt"
	"net/http"
)

// direct uses no proxy: a probe runs on the machine of its service.
var direct = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// Alive asks /healthz of the service at an address, HOST:PORT. The error says why the service does
// not count as alive.
func Alive(ctx context.Context, address string) error {
	url := "http://" + address + "/healthz"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("%q is not an address; it must be HOST:PORT: %w", address, err)
	}
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
