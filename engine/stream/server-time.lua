-- The time that a call goes by, as the ledger and the order book take it, and their way back from a clock that had
-- jumped ahead. A log's clock never goes back: after such a jump it stands still until that time comes, and whatever
-- ends by time goes by the present all the same. Included in libraries by library.ts.

-- `given`: '' for this server's clock alone; a number for a clock of the caller's own (replay, demo); or '~<the
-- caller's wall clock>,<by how much the two may differ>', and whatever follows a further comma. Past that bound one of
-- the two clocks is wrong, and nobody here knows which: time is then the earlier of the two.
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

-- By how much a log's clock has been led ahead of the time: 0 within the bound.
local function led_ahead(clock, now, bound)
  return clock - now > bound and clock - now or 0
end
