package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

type healthCommand struct{}

// Run asks over the metrics port, which every part serves.
func (healthCommand) Run(ctx context.Context) error {
	e := environment{}
	port := e.number("METRICS_PORT", 9090, 1, 65535)
	if len(e.faults) > 0 {
		return errors.New(strings.Join(e.faults, "\nuser-service: "))
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/health/ready/", port), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return errors.New("the service does not answer")
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: status %d", resp.StatusCode)
	}
	fmt.Println("ready")
	return nil
}
