package cache

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"reflect"
	"sync"
)

var (
	shapesLock sync.RWMutex
	shapes     = map[reflect.Type]string{}
)

// shape tells values of one form from those of another release, which lack a field or have one more:
// decoding would not notice, and a field that is missing would lie.
func shape(of reflect.Type) string {
	shapesLock.RLock()
	known := shapes[of]
	shapesLock.RUnlock()
	if known != "" {
		return known
	}
	zero, _ := json.Marshal(reflect.Zero(of).Interface())
	sum := fnv.New32a()
	_, _ = sum.Write(zero)
	made := fmt.Sprintf("%08x", sum.Sum32())
	shapesLock.Lock()
	defer shapesLock.Unlock()
	shapes[of] = made
	return made
}
