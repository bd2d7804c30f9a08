#!lua name=shuiwei_purges
-- When all workers together may send the next request to a CDN, and for how many SKUs. Requests are spaced evenly;
-- after a pause a burst of them may follow, the closer the more of the burst is left, so that its last requests have
-- full batches. The SKUs of any 24 hours stay below the vendor's day, whenever that day begins. A permission counts
-- whether it is used or not. After a failover to a server that lacks the last calls a request may come too early: the
-- vendor refuses it, and it is repeated.

local HOUR_MS = 3600000
local HOURS_OF_A_DAY = 24
-- Longer than anything here matters.
local KEPT_MS = 26 * HOUR_MS
-- The longest pause on a vendor's request.
local LONGEST_HOLD_MS = 300000

local function clock_of(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
end

local function digits(n)
  return string.format('%.3f', n)
end

-- The SKUs of the present hour and of the 24 before; older ones are removed.
local function sent_within_a_day(key, hour)
  local sum, flat = 0, redis.call('HGETALL', key)
  for i = 1, #flat, 2 do
    local at = tonumber(string.match(flat[i], '^h:(%d+)$'))
    if at and at < hour - HOURS_OF_A_DAY then
      redis.call('HDEL', key, flat[i])
    elseif at then
      sum = sum + tonumber(flat[i + 1])
    end
  end
  return sum
end

-- purges_take: whether a request may be sent now. If it may, it counts.
-- KEYS: limits of the CDN
-- ARGV: 1 clock in ms ('' for this server's), 2 ms between two requests, 3 requests at once after a pause, 4 SKUs
--       wanted, 5 SKUs of a day ('' for any number)
-- Returns: {SKUs, ms to wait when there are none, whether the day's SKUs are used up (1 or 0)}
local function take(keys, args)
  local now, interval, burst = clock_of(args[1]), tonumber(args[2]), tonumber(args[3])
  local state = redis.call('HMGET', keys[1], 'next', 'hold', 'last')
  local next_at, hold = tonumber(state[1]) or now, tonumber(state[2]) or 0
  -- A clock that went back must not stop all requests until it has caught up.
  if next_at > now + burst * interval or hold > now + LONGEST_HOLD_MS then
    next_at, hold = math.min(next_at, now + burst * interval), math.min(hold, now + LONGEST_HOLD_MS)
    redis.call('HSET', keys[1], 'next', digits(next_at), 'hold', digits(hold))
  end
  local last = math.min(tonumber(state[3]) or 0, now)
  -- The distance from the last request is the interval times the used part of the burst, (next - now) / interval /
  -- burst, solved for now.
  local spaced_at = (last * burst + next_at) / (burst + 1)
  local free_at = math.max(next_at - (burst - 1) * interval, spaced_at, hold)
  if free_at > now then return { 0, math.ceil(free_at - now), 0 } end
  local skus, hour = tonumber(args[4]), math.floor(now / HOUR_MS)
  if args[5] ~= '' then
    skus = math.min(skus, tonumber(args[5]) - sent_within_a_day(keys[1], hour))
    if skus <= 0 then return { 0, math.ceil((hour + 1) * HOUR_MS - now), 1 } end
    redis.call('HINCRBY', keys[1], string.format('h:%.0f', hour), skus)
  end
  redis.call('HSET', keys[1], 'next', digits(math.max(now, next_at) + interval), 'last', digits(now))
  redis.call('PEXPIRE', keys[1], KEPT_MS)
  return { skus, 0, 0 }
end

-- purges_hold: no request is sent for a while, because the vendor requests it.
-- KEYS: limits of the CDN
-- ARGV: 1 clock in ms ('' for this server's), 2 ms
-- Returns: 1
local function hold(keys, args)
  local now = clock_of(args[1])
  local held = math.min(tonumber(redis.call('HGET', keys[1], 'hold')) or 0, now + LONGEST_HOLD_MS)
  local wanted = now + math.min(tonumber(args[2]), LONGEST_HOLD_MS)
  redis.call('HSET', keys[1], 'hold', digits(math.max(held, wanted)))
  redis.call('PEXPIRE', keys[1], KEPT_MS)
  return 1
end

-- Copies of what is sold out are purged also when Redis is full.
redis.register_function({ function_name = 'purges_take', callback = take, flags = { 'allow-oom' } })
redis.register_function({ function_name = 'purges_hold', callback = hold, flags = { 'allow-oom' } })
