#!lua name=shuiwei_channels
-- What all workers together send to one address of a channel: no more messages in any minute than its limit, none while
-- the receiving system has requested a pause, and none that it has accepted already. A request counts from the moment
-- at which it was allowed, whether it was sent or not.

local MINUTE_MS = 60000
-- An answer that takes longer is no reason to keep the alert from the others; meanwhile they look again so often.
local SENDING_MS = 30000
local PROBE_MS = 1000

local function clock_of(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- The address may be in the ladders of several people: it gets an alert once of all of them. Each alert has the
-- recipient for whom it is sent now ('s') or was accepted ('a'). The same recipient may send it again.
-- Returns: as channel_take.
local function shared_by_others(keys, recipient)
  if #keys < 4 then return 0 end
  local wait = 0
  for i = 4, #keys do
    local by = redis.call('GET', keys[i])
    if not by or string.sub(by, 2) == recipient then return 0 end
    if string.sub(by, 1, 1) == 's' then wait = PROBE_MS end
  end
  return wait > 0 and wait or -1
end

-- channel_take: whether a message may be sent now. If it may, it counts.
-- KEYS: 1 times, 2 hold, 3 accepted, 4 and on: of each alert of which it is the news
-- ARGV: 1 clock in ms ('' for this server's), 2 messages a minute, 3 its recipient
-- Returns: 0: it may; -1: the address has accepted it before; otherwise ms to wait
local function take(keys, args)
  if redis.call('EXISTS', keys[3]) == 1 then return -1 end
  local shared = shared_by_others(keys, args[3])
  if shared ~= 0 then return shared end
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
  for i = 4, #keys do
    if not redis.call('GET', keys[i]) then redis.call('SET', keys[i], 's' .. args[3], 'PX', SENDING_MS) end
  end
  return 0
end

-- Alerts are sent also when Redis is full.
redis.register_function({ function_name = 'channel_take', callback = take, flags = { 'allow-oom' } })
