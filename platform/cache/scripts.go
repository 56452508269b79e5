package cache

import "github.com/redis/go-redis/v9"

// put stores KEYS[1] = "version:shape:value", or an announcement ("version:"), unless something newer
// stands there. Two values of one version are equal; an announcement of the version that stands there
// was preceded by one that was rolled back, and lives anew.
// ARGV: version, value, milliseconds to live.
var put = redis.NewScript(`
local held = redis.call('GET', KEYS[1])
if held and tonumber(string.match(held, '^%d+')) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[2], 'PX', ARGV[3])
return 1
`)
