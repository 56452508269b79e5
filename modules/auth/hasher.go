package auth

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"time"

	"user-service/platform/argon2"
)

// hashWithin is how long a hash may take: several times the dearest one that is accepted.
const hashWithin = 30 * time.Second

// hashJob is a password to compare with a hash, or to hash at a cost when there is none.
type hashJob struct {
	Password, Hash string
	Cost           Cost
}

type hashResult struct {
	Match bool
	Hash  string
}

func (j hashJob) do(memory *argon2.Memory) (r hashResult) {
	if j.Hash == "" {
		r.Hash = newHash(j.Password, j.Cost, memory)
	} else if matches := readHash(j.Hash); matches != nil {
		r.Match = matches(j.Password, memory)
	}
	return r
}

// ServeHashes does the jobs of a service that started this process for them, one after another,
// until in ends.
func ServeHashes(in io.Reader, out io.Writer) error {
	memory := argon2.Memory{HugePages: true}
	jobs, results := gob.NewDecoder(in), gob.NewEncoder(out)
	idle := time.AfterFunc(idleAfter, func() {
		memory.Release()
		debug.FreeOSMemory()
	})
	for {
		var job hashJob
		if err := jobs.Decode(&job); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read a job: %w", err)
		}
		if err := results.Encode(job.do(&memory)); err != nil {
			return fmt.Errorf("tell a result: %w", err)
		}
		idle.Reset(idleAfter)
	}
}

// hasher is a process of ours that does nothing but hash, in the background: it gets what time the
// other routes leave, and its memory is not theirs to clean up. In this process neither could be
// had: goroutines have no priorities.
type hasher struct {
	process *exec.Cmd
	in      io.Closer
	jobs    *gob.Encoder
	results *gob.Decoder
}

func startHasher(command []string) (*hasher, error) {
	process := exec.Command(command[0], command[1:]...) //nolint:gosec,noctx // our own program, which lives as long as this one
	process.Env = []string{"GOMAXPROCS=1"}              // and nothing secret
	process.Stderr = os.Stderr
	in, err := process.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := startInBackground(process); err != nil {
		return nil, err
	}
	return &hasher{process: process, in: in, jobs: gob.NewEncoder(in), results: gob.NewDecoder(out)}, nil
}

// do gives the job to the process. After an error the process is gone.
func (h *hasher) do(job hashJob) (r hashResult, err error) {
	late := time.AfterFunc(hashWithin, func() { _ = h.process.Process.Kill() })
	defer late.Stop()
	if err = h.jobs.Encode(job); err == nil {
		err = h.results.Decode(&r)
	}
	if err != nil {
		_ = h.process.Process.Kill()
		_ = h.process.Wait()
	}
	return r, err
}

// end waits for the process to end by itself.
func (h *hasher) end() {
	_ = h.in.Close()
	_ = h.process.Wait()
}
