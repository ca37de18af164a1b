"""What Redis does for the circuits that replicas share, each script as one step.

The circuits that are not closed are a sorted set by the time when they may be tried again, in
milliseconds; its member without a name has a number by which a Redis that has lost its memory is
recognised. Who probes a circuit is in a key of its own that ends by itself, as the token under
which the lease was taken.
"""

from __future__ import annotations

from typing import Final

# Circuits that nobody closed for so long belong to tools and replicas that are gone.
_FORGOTTEN_MILLISECONDS: Final = 24 * 3600 * 1000
_MOST: Final = 1000
# A time that was told counts from when it arrived, which is a little later.
_LENIENCE_MILLISECONDS: Final = 50

_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# KEYS: the circuits, the leases that are over, those that are held. ARGV: a number for a new
# memory, how long a lease lasts, how many are over and how many held, their tokens, and then
# circuits with the milliseconds for which they are open; -1 for those that closed.
EXCHANGE: Final = f"""
{_NOW}
local over = tonumber(ARGV[3])
local leases = over + tonumber(ARGV[4])
if not redis.call('ZSCORE', KEYS[1], '') then
  redis.call('ZADD', KEYS[1], ARGV[1], '')
end
for at = 5 + leases, #ARGV, 2 do
  local open = tonumber(ARGV[at + 1])
  if open >= 0 then
    redis.call('ZADD', KEYS[1], now + open, ARGV[at])
  else
    redis.call('ZREM', KEYS[1], ARGV[at])
  end
end
for at = 1, leases do
  if redis.call('GET', KEYS[1 + at]) == ARGV[4 + at] then
    if at <= over then
      redis.call('DEL', KEYS[1 + at])
    else
      redis.call('PEXPIRE', KEYS[1 + at], ARGV[2])
    end
  end
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - {_FORGOTTEN_MILLISECONDS})
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -{_MOST + 2})
local found = redis.call('ZRANGE', KEYS[1], 0, -2, 'WITHSCORES')
for at = 2, #found, 2 do
  found[at] = found[at] - now
end
table.insert(found, 1, redis.call('ZSCORE', KEYS[1], ''))
return found
"""

# KEYS: the circuits, the lease. ARGV: the circuit, a token, how long the lease lasts, the number of
# the memory, if that has known the circuit, and how long to wait for another's probe, which may be
# done much sooner than its lease. Answers 0 when the lease is taken, -1 when the circuit is closed,
# and otherwise how many milliseconds to wait.
TAKE: Final = f"""
{_NOW}
local untried = redis.call('ZSCORE', KEYS[1], ARGV[1])
if untried then
  local left = tonumber(untried) - now
  if left > {_LENIENCE_MILLISECONDS} then
    return left
  end
elseif ARGV[4] ~= '' and redis.call('ZSCORE', KEYS[1], '') == ARGV[4] then
  return -1
end
if redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3]) then
  return 0
end
return math.max(1, math.min(redis.call('PTTL', KEYS[2]), tonumber(ARGV[5])))
"""
