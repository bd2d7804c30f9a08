#!lua name=shuiwei_events
-- The log of an event topic: appends events, ticks of schedules, and events that forwarders make from another topic's
-- emits. Each append is one atomic call with what makes it happen once: the stored due time of a schedule, or the
-- newest commit that was taken from a source. Entries have the fields of the orders' log: n, t, b. The log's clock
-- never decreases.

-- The same as ENTRY_EVENTS_LIMIT in event-entry.ts.
local ENTRY_EVENTS = 1000

local function digits(n)
  return string.format('%.0f', n)
end

-- include server-time.lua

-- include server-run.lua

local function open_log(keys, given)
  local head = redis.call('HMGET', keys[1], 'offset', 'clock', 'events')
  local now, agree = time_of(given)
  local last = tonumber(head[2]) or 0
  return {
    head_key = keys[1], log_key = keys[2],
    offset = tonumber(head[1]) or 0, events = tonumber(head[3]) or 0,
    now = now, agree = agree, last = last, clock = math.max(now, last),
  }
end

local function append(log, count, bytes)
  log.offset, log.events = log.offset + 1, log.events + count
  redis.call('XADD', log.log_key, digits(log.offset) .. '-0', 'n', digits(log.events), 't', digits(log.clock), 'b', bytes)
end

local function save_head(log)
  redis.call('HSET', log.head_key, 'offset', digits(log.offset), 'clock', digits(log.clock), 'events', digits(log.events))
end

-- Collects events, so that those of several commits share an entry.
local function collect(log, pending, count, bytes)
  if pending.count + count > ENTRY_EVENTS then
    append(log, pending.count, table.concat(pending.bytes))
    pending.count, pending.bytes = 0, {}
  end
  pending.count = pending.count + count
  pending.bytes[#pending.bytes + 1] = bytes
end

local function append_collected(log, pending)
  if pending.count > 0 then append(log, pending.count, table.concat(pending.bytes)) end
  save_head(log)
end

-- events_append: appends events, in order.
-- KEYS: head, log
-- ARGV: 1 clock (see time_of), then for each entry: number of events, the events (msgpack lists one after the other)
-- Returns: the last offset, the log's clock
local function append_events(keys, args)
  local log = open_log(keys, args[1])
  for at = 2, #args, 2 do append(log, tonumber(args[at]), args[at + 1]) end
  save_head(log)
  return { digits(log.offset), digits(log.clock) }
end

-- events_tick: appends an empty entry when the clock has crossed a multiple of the heartbeat since the last entry, or
-- when a timer is due, because windows end and timers fire by the log's clock.
-- KEYS: head, log, timers, schedules
-- ARGV: 1 clock (see time_of), 2 heartbeat in ms
-- Returns: the last offset, the time, 1 when the clocks agree, then name and state of each stored schedule
local function tick(keys, args)
  local log = open_log(keys, args[1])
  local heartbeat = tonumber(args[2])
  local is_due = log.clock ~= log.last
    and (math.floor(log.clock / heartbeat) > math.floor(log.last / heartbeat)
      or #redis.call('ZRANGEBYSCORE', keys[3], '-inf', digits(log.clock), 'LIMIT', 0, 1) > 0)
  if is_due then
    append(log, 0, '')
    save_head(log)
  end
  local reply = { digits(log.offset), digits(log.now), log.agree and '1' or '0' }
  for _, text in ipairs(redis.call('HGETALL', keys[4])) do reply[#reply + 1] = text end
  return reply
end

-- events_fire: changes the state of a schedule and appends its ticks, unless the state is another one by now.
-- KEYS: head, log, schedules
-- ARGV: 1 clock (see time_of), 2 name, 3 the state as it was read ('' for none), 4 the new state ('' deletes it),
--       5 due time of the last tick, 6 number of ticks, 7 their events
-- Returns: the offset of the ticks' entry; 0 when there is no tick; -1 when nothing was changed, because the state is
--          another one, the clocks disagree, or the last tick is not due by this clock
local function fire(keys, args)
  local log = open_log(keys, args[1])
  local ticks = tonumber(args[6])
  if (redis.call('HGET', keys[3], args[2]) or '') ~= args[3] then return -1 end
  if ticks > 0 and (not log.agree or tonumber(args[5]) > log.now) then return -1 end
  if args[4] == '' then redis.call('HDEL', keys[3], args[2]) else redis.call('HSET', keys[3], args[2], args[4]) end
  if ticks == 0 then return 0 end
  append(log, ticks, args[7])
  save_head(log)
  return log.offset
end

redis.register_function('events_append', append_events)
-- Allowed when Redis is full: time goes on, and the entries are small.
redis.register_function { function_name = 'events_tick', callback = tick, flags = { 'allow-oom' } }
redis.register_function { function_name = 'events_fire', callback = fire, flags = { 'allow-oom' } }
