#!lua name=shuiwei_outbox
-- The rate at which all workers together may send to one receiver. The time line has slots, one request each, spaced
-- by the present rate; a worker reserves the next free ones, a little ahead only (HORIZON, or half of the time for
-- which a slot is valid), so slots of different workers do not overlap and there is no burst. The rate is at its
-- ceiling until the receiver throttles or becomes slow; then it is cut at once and rises again step by step. One call
-- does all of it. A reserved slot that is not used is lost and not made up for. Times are in microseconds.

local HORIZON = 25000
-- After a start or a failover this server may not have the last reservations; they were less than this ahead.
local NEW_RUN = 400000
-- The ceiling of the rate is at most this part of the limit: room for other clients of the receiver.
local HIGHEST_SHARE = 0.9
-- A clock of whole milliseconds may add this to the time for which a slot is valid.
local CLOCK_STEP = 1000
-- For so long the rate depends on the longest validity of a slot: until the last of those slots is over, and the second
-- after it.
local VALIDITY_KEPT = 2000000
-- A worker that has published nothing for so long has nothing under way any more, or is dead.
local SILENT = 2000000
-- No second cut before the first can have an effect.
local CUT_EVERY = 1000000
local CUT = 0.7
-- Parts of the ceiling: the lowest rate after throttling and after slow answers, and how much it rises per second.
local THROTTLED_FLOOR = 0.01
local SLOW_FLOOR = 0.1
local RECOVERY = 0.05
-- The longest pause on a receiver's request.
local LONGEST_HOLD = 300000000
-- How soon to call again when no further request may be under way.
local FULL_WAIT = 10000

local function clock_of(given)
  if given ~= '' then return tonumber(given) * 1000 end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function digits(n)
  return string.format('%.0f', n)
end

-- include server-run.lua

-- rate_reserve: publishes the answers since the last call, and reserves slots.
-- KEYS: rate limiter
-- ARGV: 1 worker, 2 clock in ms ('' for this server's), 3 limit in requests/s, 4 how many requests all workers may have
--       under way, 5 how many this one has, reserved slots included, 6 slots wanted, 7 how many answers throttled,
--       8 pause in ms that the receiver asked for, 9 whether its answers are slow (1 or 0), 10 for how many ms after
--       its time a slot is valid
-- Returns: {slots, µs from now to the first, µs between two (text), µs after which to call again, rate (text)}
local function reserve(keys, args)
  local now = clock_of(args[2])
  local limit, under_way_limit, under_way = tonumber(args[3]), tonumber(args[4]), tonumber(args[5])
  local wanted, throttled, hold_ms, slow = tonumber(args[6]), tonumber(args[7]), tonumber(args[8]), args[9] == '1'
  local validity = tonumber(args[10]) * 1000
  local horizon = math.max(HORIZON, validity / 2)
  local mine = 'worker:' .. args[1]

  local state, others = {}, 0
  local flat = redis.call('HGETALL', keys[1])
  for i = 1, #flat, 2 do
    local field, value = flat[i], flat[i + 1]
    if string.sub(field, 1, 7) ~= 'worker:' then
      state[field] = value
    elseif field ~= mine then
      local number, published = string.match(value, '(%d+)@(%d+)')
      if now - tonumber(published) > SILENT then
        redis.call('HDEL', keys[1], field)
      else
        others = others + tonumber(number)
        -- The server's clock has gone back: a worker that is dead must not count until it has caught up.
        if tonumber(published) > now + SILENT then redis.call('HSET', keys[1], field, number .. '@' .. digits(now)) end
      end
    end
  end

  -- See rate-limiter.ts for the arithmetic of the guarantee. Stored names: the fields of the hash.
  local longest, longest_at = tonumber(state.validity) or 0, math.min(now, tonumber(state.validity_at) or 0)
  if validity >= longest or now - longest_at > VALIDITY_KEPT then longest, longest_at = validity, now end
  local stretch = 1 + (longest + CLOCK_STEP) / 1000000
  local ceiling = math.min(limit * HIGHEST_SHARE, (limit - 1 - under_way_limit) / stretch)

  local run = this_run()
  local rate = math.min(ceiling, tonumber(state.rate) or ceiling)
  local published, cut = tonumber(state.told) or now, math.min(now, tonumber(state.cut) or 0)
  if throttled > 0 or slow then
    if now - cut >= CUT_EVERY then
      local floor = ceiling * (throttled > 0 and THROTTLED_FLOOR or SLOW_FLOOR)
      rate = math.max(rate * CUT, math.min(rate, floor))
      cut = now
    end
  elseif now - cut >= CUT_EVERY then
    rate = math.min(ceiling, rate + ceiling * RECOVERY * math.max(0, now - published) / 1000000)
  end

  local step = 1000000 / rate
  -- A clock that went back must not stop all sending until it has caught up.
  local next_slot = math.min(tonumber(state.next) or now, now + horizon + math.max(1000000, step))
  if not is_same_run(state.server or '', run) then next_slot = math.max(next_slot, now + NEW_RUN) end
  local hold = math.min(tonumber(state.hold) or 0, now + LONGEST_HOLD)
  if hold_ms > 0 then hold = math.max(hold, now + math.min(hold_ms * 1000, LONGEST_HOLD)) end

  local first = math.max(now, next_slot, hold)
  local free = under_way_limit - others - under_way
  local slots = math.max(0, math.min(wanted, free, math.floor((now + horizon - first) / step) + 1))
  if slots > 0 then next_slot = first + slots * step end
  local wait = math.max(1000, first - now - horizon)
  if free <= 0 then wait = math.max(wait, FULL_WAIT) end

  -- Not under 'run': releases that compare it with the replication id alone would find another one at each call.
  redis.call('HSET', keys[1], 'server', run, 'next', digits(next_slot), 'rate', string.format('%.3f', rate), 'told', digits(now),
    'validity', digits(longest), 'validity_at', digits(longest_at), 'cut', digits(cut), 'hold', digits(hold))
  if under_way + slots > 0 then
    redis.call('HSET', keys[1], mine, under_way + slots .. '@' .. digits(now))
  else
    redis.call('HDEL', keys[1], mine)
  end
  return { slots, math.ceil(first - now), string.format('%.3f', step), math.ceil(wait), string.format('%.3f', rate) }
end

-- Sending frees memory: it goes on when Redis is full.
redis.register_function({ function_name = 'rate_reserve', callback = reserve, flags = { 'allow-oom' } })
