package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// lintDockerfile does what "docker build --check" does: it plans the build of every stage and reports each warning.
func lintDockerfile(ctx context.Context, path string, content []byte) []string {
	images := &unknownImages{}
	source := llb.NewSourceMap(nil, path, "Dockerfile", content)
	source.Definition = &llb.Definition{} // or the linter panics
	results, err := dockerfile2llb.DockerfileLint(ctx, content, dockerfile2llb.ConvertOpt{
		SourceMap:      source,
		TargetPlatform: &ocispecs.Platform{OS: "linux", Architecture: "amd64"},
		MetaResolver:   images,
	})
	if err != nil {
		return []string{err.Error()}
	}
	var faults []string
	for _, w := range results.Warnings {
		faults = append(faults, fmt.Sprintf("line %d: %s: %s", line(w.Location.GetRanges()), w.RuleName, w.Detail))
	}
	// With "check=error=true" in the file, warnings make an error too; it would only repeat them.
	if e := results.Error; e != nil && len(results.Warnings) == 0 {
		faults = append(faults, fmt.Sprintf("line %d: %s", line(e.Location.Ranges), e.Message))
	}
	for _, image := range images.asked {
		if !pinned(image) {
			faults = append(faults, fmt.Sprintf("base image %q has no fixed tag", image))
		}
	}
	return faults
}

func line(ranges []*pb.Range) int32 {
	if len(ranges) == 0 {
		return 0
	}
	return ranges[0].Start.Line
}

// unknownImages stands in for the registry: it notes which images are asked for and calls each an empty one of the
// wanted platform.
type unknownImages struct{ asked []string }

func (u *unknownImages) ResolveImageConfig(_ context.Context, image string, opt sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	u.asked = append(u.asked, image)
	config, err := json.Marshal(ocispecs.Image{Platform: *opt.ImageOpt.Platform})
	return image, "", config, err
}
