package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cost is the processor time of each program for one operation, in µs. That of the servers includes
// what the client had them do to make a round possible, which is the same on both sides.
type cost map[string]float64

// The programs that a cost tells of.
const (
	ownTime    = "program" // floor or service, with the processes it started
	postgresql = "postgresql"
	redisTime  = "redis"
	rabbitMQ   = "rabbitmq"
)

var programs = []string{ownTime, postgresql, redisTime, rabbitMQ}

// findServers finds the processes of the servers, by the ports they listen at. Those that run elsewhere
// are left out, as all are on systems without /proc.
func (w *world) findServers() {
	w.pids = map[string]int{}
	all := processes()
	for _, server := range []struct{ program, variable, process string }{
		{postgresql, "DATABASE_URL", "postgres"}, {redisTime, "REDIS_URL", "redis"}, {rabbitMQ, "RABBITMQ_URL", "beam"},
	} {
		address := must(url.Parse(os.Getenv(server.variable)))
		pid := listener(address.Port())
		if strings.HasPrefix(all[pid].name, server.process) { // and not a proxy to a container
			w.pids[server.program] = pid
		}
	}
}

// listener is the process that listens at a port of TCP; 0 if there is none that we may look at.
func listener(port string) int {
	n, _ := strconv.Atoi(port)
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, socket := range listening(n) {
		for _, link := range links {
			if target, _ := os.Readlink(link); target == socket {
				pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
				return pid
			}
		}
	}
	return 0
}

// listening are the sockets that listen at a port, as the links of their processes name them.
func listening(port int) (sockets []string) {
	const listens = "0A"
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, _ := os.ReadFile(file)
		for line := range strings.Lines(string(table)) {
			fields := strings.Fields(line) // see proc_net(5): number, local address, remote address, state, …, inode
			if len(fields) > 9 && fields[3] == listens && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
				sockets = append(sockets, "socket:["+fields[9]+"]")
			}
		}
	}
	return sockets
}

// spent is the processor time of the servers and of c until now.
func (w *world) spent(c *child) map[string]time.Duration {
	all := processes()
	spent := map[string]time.Duration{}
	for program, pid := range w.pids {
		spent[program] = treeTime(all, pid)
	}
	if len(all) > 0 {
		spent[ownTime] = treeTime(all, c.cmd.Process.Pid)
	}
	return spent
}

// costOf shares what was spent between two moments among n operations.
func costOf(before, after map[string]time.Duration, n int) cost {
	c := cost{}
	for program := range before {
		c[program] = float64((after[program] - before[program]).Microseconds()) / float64(n)
	}
	return c
}

// medianCost takes the median of each program.
func medianCost(rounds []cost) cost {
	m := cost{}
	for program := range rounds[0] {
		var each []float64
		for _, c := range rounds {
			each = append(each, c[program])
		}
		m[program] = median(each)
	}
	return m
}

// process is what /proc says of one.
type process struct {
	name   string
	parent int
	spent  time.Duration // with what its children spent that have ended
}

func processes() map[int]process {
	all := map[int]process{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		stat, _ := os.ReadFile(file)
		if p, ok := parseStat(string(stat)); ok {
			all[pid] = p
		}
	}
	return all
}

// tick is the unit of times in /proc: USER_HZ is 100 on every architecture that matters.
const tick = time.Second / 100

// parseStat reads /proc/PID/stat, see proc_pid_stat(5). The name, in brackets, may have brackets itself.
func parseStat(stat string) (p process, ok bool) {
	end := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[end+1:])
	_, name, named := strings.Cut(stat[:max(end, 0)], "(")
	if !named || len(fields) < 15 {
		return p, false
	}
	p.name = name
	p.parent, _ = strconv.Atoi(fields[1])
	for _, field := range fields[11:15] { // utime, stime, cutime, cstime
		ticks, _ := strconv.Atoi(field)
		p.spent += time.Duration(ticks) * tick
	}
	return p, true
}

// treeTime is what root and all below it spent.
func treeTime(all map[int]process, root int) (total time.Duration) {
	for pid, p := range all {
		for at := pid; at != 0; at = all[at].parent {
			if at == root {
				total += p.spent
				break
			}
		}
	}
	return total
}

// columns are the figures of the programs, for the table.
func (c cost) columns() string {
	var text strings.Builder
	for _, program := range programs {
		if spent, known := c[program]; known {
			fmt.Fprintf(&text, "%.0f\t", spent)
		} else {
			text.WriteString("–\t")
		}
	}
	return text.String()
}
