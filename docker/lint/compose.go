package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/distribution/reference"
	"github.com/sirupsen/logrus"
)

// lintCompose loads the file as "docker compose up" would, with nothing set in the environment, and then with every
// profile. What Compose only warns of is a fault here.
func lintCompose(ctx context.Context, path string, content []byte) []string {
	plain, faults := load(ctx, path, content, nil)
	if len(faults) > 0 {
		return faults
	}
	full, faults := load(ctx, path, content, plain.AllServices().GetProfiles())
	if len(faults) > 0 {
		return faults
	}
	for _, name := range full.ServiceNames() {
		for _, fault := range lintService(full, full.Services[name]) {
			faults = append(faults, name+": "+fault)
		}
	}
	return faults
}

func load(ctx context.Context, path string, content []byte, profiles []string) (*types.Project, []string) {
	warnings := captureWarnings()
	project, err := loader.LoadWithContext(ctx, types.ConfigDetails{
		WorkingDir:  filepath.Dir(path),
		ConfigFiles: []types.ConfigFile{{Filename: path, Content: content}},
		Environment: types.Mapping{},
	}, loader.WithProfiles(profiles), func(o *loader.Options) {
		o.SetProjectName("lint", false)
	})
	if err != nil {
		return nil, append(warnings.messages, err.Error())
	}
	return project, warnings.messages
}

func lintService(project *types.Project, service types.ServiceConfig) []string {
	var faults []string
	check := service.HealthCheck
	healthChecked := check != nil && !check.Disable && len(check.Test) > 0 && check.Test[0] != "NONE"
	if !healthChecked && !oneShot(project, service.Name) {
		faults = append(faults, "no health check, though nothing waits for it to complete")
	}
	for _, port := range service.Ports {
		if port.HostIP != "127.0.0.1" {
			faults = append(faults, fmt.Sprintf("port %d is published beyond 127.0.0.1", port.Target))
		}
	}
	// An image built here has no publisher who could move its tag.
	if service.Build == nil && !pinned(service.Image) {
		faults = append(faults, fmt.Sprintf("image %q has no fixed tag", service.Image))
	}
	return faults
}

// oneShot tells whether another service waits for the named one to end.
func oneShot(project *types.Project, name string) bool {
	for _, other := range project.Services {
		if other.DependsOn[name].Condition == types.ServiceConditionCompletedSuccessfully {
			return true
		}
	}
	return false
}

// pinned tells whether an image is named with a digest, or a tag other than latest.
func pinned(image string) bool {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return false
	}
	if _, ok := named.(reference.Digested); ok {
		return true
	}
	tagged, ok := named.(reference.Tagged)
	return ok && tagged.Tag() != "latest"
}

// warningHook collects what compose-go tells only its log.
type warningHook struct{ messages []string }

func captureWarnings() *warningHook {
	hook := &warningHook{}
	logrus.SetOutput(io.Discard)
	logrus.StandardLogger().ReplaceHooks(logrus.LevelHooks{})
	logrus.AddHook(hook)
	return hook
}

func (h *warningHook) Levels() []logrus.Level {
	return []logrus.Level{logrus.WarnLevel, logrus.ErrorLevel}
}

func (h *warningHook) Fire(entry *logrus.Entry) error {
	if !slices.Contains(h.messages, entry.Message) {
		h.messages = append(h.messages, entry.Message)
	}
	return nil
}
