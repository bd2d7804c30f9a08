-- The time of a call, for the ledger and the order store, and how far a log's clock is ahead of it. A log's clock never
-- decreases: after a clock has jumped ahead and back, the log's clock stands still until that time is reached, while
-- expiries use the present time. Included in libraries by library.ts.

-- `given`: '' for this server's clock alone; a number for the caller's own clock (replay, demo); or '~<the caller's
-- wall clock>,<by how much the two may differ>', optionally followed by a comma and anything. When they differ by
-- more, one of the two clocks is wrong: the time is then the earlier of the two.
-- Returns: the time; whether the clocks agree; the bound
local function time_of(given)
  if tonumber(given) then return tonumber(given), true, math.huge end
  local time = redis.call('TIME')
  local server = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local caller, bound = string.match(given, '^~(%d+),(%d+)')
  if not caller then return server, true, math.huge end
  caller, bound = tonumber(caller), tonumber(bound)
  if math.abs(server - caller) <= bound then return server, true, bound end
  return math.min(server, caller), false, bound
end

-- By how much a log's clock is ahead of the time; 0 within the bound.
local function led_ahead(clock, now, bound)
  return clock - now > bound and clock - now or 0
end
