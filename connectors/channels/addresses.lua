#!lua name=shuiwei_channels
-- What all workers together send to one address of a channel: no more messages in any minute than its limit, none while
-- the receiving system has requested a pause, and none that it has accepted already. A request counts from the moment
-- at which it was allowed, whether it was sent or not.

local MINUTE_MS = 60000

local function clock_of(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- channel_take: whether a message may be sent now. If it may, it counts.
-- KEYS: 1 times, 2 hold, 3 accepted
-- ARGV: 1 clock in ms ('' for this server's), 2 messages a minute
-- Returns: 0: it may; -1: the address has accepted it before; otherwise ms to wait
local function take(keys, args)
  if redis.call('EXISTS', keys[3]) == 1 then return -1 end
  local hold = redis.call('PTTL', keys[2])
  if hold > 0 then return hold end
  local now, most = clock_of(args[1]), tonumber(args[2])
  local newest = tonumber(redis.call('LINDEX', keys[1], 0) or 0)
  -- The clock went back: what was sent then counts as sent now.
  if newest > now then
    local sent = redis.call('LLEN', keys[1])
    redis.call('DEL', keys[1])
    for _ = 1, sent do redis.call('LPUSH', keys[1], now) end
  end
  local limiting = redis.call('LINDEX', keys[1], most - 1)
  if limiting and now - tonumber(limiting) < MINUTE_MS then return tonumber(limiting) + MINUTE_MS - now end
  redis.call('LPUSH', keys[1], now)
  redis.call('LTRIM', keys[1], 0, most - 1)
  redis.call('PEXPIRE', keys[1], MINUTE_MS)
  return 0
end

-- Alerts are sent also when Redis is full.
redis.register_function({ function_name = 'channel_take', callback = take, flags = { 'allow-oom' } })
