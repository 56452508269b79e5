package servers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports are taken from below the range from which the kernel serves outgoing connections: one of those
// could otherwise steal the port of a server that is down for a moment.
const lowestPort, highestPort = 11000, 32000

var (
	chosenMu sync.Mutex
	chosen   = map[int]bool{} // by this process, perhaps not listened on yet
)

// ChoosePorts gives each name a free port on loopback.
func ChoosePorts(names ...string) map[string]int {
	chosenMu.Lock()
	defer chosenMu.Unlock()
	ports := map[string]int{}
	for _, name := range names {
		port := 0
		for port == 0 || chosen[port] || !free(map[string]int{name: port}) {
			port = lowestPort + rand.IntN(highestPort-lowestPort)
		}
		chosen[port] = true
		ports[name] = port
	}
	return ports
}

// free tells whether nothing listens on any of the ports.
func free(ports map[string]int) bool {
	for _, port := range ports {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}
