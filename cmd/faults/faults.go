package main

import (
	"slices"
	"time"
)

// serverWithin is what the service may take to be as before, once a broker or a database is back.
const serverWithin = 10 * time.Second

// faults are all there are, in the order in which they are read.
func faults() []fault {
	return slices.Concat(processFaults(), rabbitmqFaults(), postgresFaults(), redisFaults(), providerFaults(), gateFaults())
}
