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
--       5 due time of the last tick, 6 the time from which on the ticks must not be appended, 7 number of ticks, 8
--       their events
-- Returns: the offset of the ticks' entry; 0 when there is no tick; -1 when nothing was changed, because the state is
--          another one, the clocks disagree, or the last tick is not due yet or too late by this clock
local function fire(keys, args)
  local log = open_log(keys, args[1])
  local ticks = tonumber(args[7])
  if (redis.call('HGET', keys[3], args[2]) or '') ~= args[3] then return -1 end
  if ticks > 0 then
    local before = tonumber(args[6]) or math.huge
    if not log.agree or log.now < tonumber(args[5]) or log.now >= before then return -1 end
  end
  if args[4] == '' then redis.call('HDEL', keys[3], args[2]) else redis.call('HSET', keys[3], args[2], args[4]) end
  if ticks == 0 then return 0 end
  append(log, ticks, args[8])
  save_head(log)
  return log.offset
end

-- ---- forwarders
-- A source is a partition of another topic whose emits become events here. Fields of `producers`, each after the
-- source's name and a colon:
--   fence     run and epoch of the forwarder's lease at the source, and its step: 0 opened, 1 appending
--   last      the newest commit that was taken; those up to it are skipped
--   marks     the newest commits with events here, oldest first: number (8 bytes) and digest of the emits (8 bytes)
--   run       this server's run when the forwarder began to append
--   replayed  ids of the dead letters that were replayed last
--   overflowed  marks, as above, of commits with events here whose emits became dead letters all the same
local MARKS_BYTES = 256 * 16
local REPLAYED = 1024

local function stale_fence()
  return redis.error_reply('STALE_FENCE another forwarder has taken over')
end

-- The error for a forwarder that was overtaken, or whose earlier events this server may have lost; nil otherwise.
local function refusal(producers_key, source, fence, known_run)
  if redis.call('HGET', producers_key, source .. ':fence') ~= fence then return stale_fence() end
  if not is_same_run(known_run, this_run()) then return redis.error_reply('STALE_RUN the server has restarted') end
end

-- events_open_source: excludes all earlier forwarders of a source. Of two leases of one run the later one is that with
-- the higher epoch. Leases of different runs have no order: then each may exclude the other, and the one whose lease
-- has ended gets an error at its next call to the source.
-- KEYS: producers   ARGV: 1 source, 2 run and 3 epoch of the forwarder's lease
-- Returns: {last, marks, run when a forwarder began to append last ('' for never), this run, overflowed}
local function open_source(keys, args)
  local source, run, epoch = args[1], args[2], tonumber(args[3])
  local stored = redis.call('HMGET', keys[1], source .. ':fence', source .. ':last', source .. ':marks', source .. ':run',
    source .. ':overflowed')
  local fence_run, fence_epoch, step = string.match(stored[1] or '', '^(%S+) (%d+) (%d)$')
  if fence_run and is_same_run(fence_run, run) then
    fence_epoch = tonumber(fence_epoch)
    if epoch < fence_epoch or (epoch == fence_epoch and step ~= '0') then return stale_fence() end
  end
  redis.call('HSET', keys[1], source .. ':fence', run .. ' ' .. args[3] .. ' 0')
  return { stored[2] or '0', stored[3] or '', stored[4] or '', this_run(), stored[5] or '' }
end

-- events_begin_source: sets where a forwarder begins, before its first event. Once for each opening.
-- KEYS: producers   ARGV: 1 source, 2 run and 3 epoch of the forwarder's lease, 4 this server's run when it was opened,
-- 5 the newest commit that counts as taken, 6 overflowed
local function begin_source(keys, args)
  local source, last = args[1], tonumber(args[5])
  local refused = refusal(keys[1], source, args[2] .. ' ' .. args[3] .. ' 0', args[4])
  if refused then return refused end
  local marks = redis.call('HGET', keys[1], source .. ':marks') or ''
  while #marks > 0 and struct.unpack('>d', marks, #marks - 15) > last do marks = string.sub(marks, 1, -17) end
  redis.call('HSET', keys[1], source .. ':fence', args[2] .. ' ' .. args[3] .. ' 1', source .. ':last', digits(last),
    source .. ':marks', marks, source .. ':run', this_run(), source .. ':overflowed', string.sub(args[6], -MARKS_BYTES))
  return 1
end

-- Collects events, so that those of several commits share an entry.
local function collect(log, pending, count, bytes)
  if pending.count > 0 and pending.count + count > ENTRY_EVENTS then
    append(log, pending.count, table.concat(pending))
    for i = #pending, 1, -1 do pending[i] = nil end
    pending.count = 0
  end
  pending.count, pending[#pending + 1] = pending.count + count, bytes
end

local function append_collected(log, pending)
  if pending.count == 0 then return end
  append(log, pending.count, table.concat(pending))
  save_head(log)
end

-- events_forward: appends the events of commits that were not taken yet, those of one commit all or none.
-- KEYS: head, log, producers
-- ARGV: 1 clock (see time_of), 2 source, 3 the forwarder's fence, 4 this server's run when it was opened, then in
--       ascending order: commit, digest of its emits, number of events (ENTRY_EVENTS at most), the events; a commit
--       with more events comes several times
-- Returns: the last offset, the newest commit that is taken
local function forward(keys, args)
  local source = args[2]
  local refused = refusal(keys[3], source, args[3], args[4])
  if refused then return refused end
  local log, pending = open_log(keys, args[1]), { count = 0 }
  local stored = redis.call('HMGET', keys[3], source .. ':last', source .. ':marks')
  local last, marks = tonumber(stored[1]), { stored[2] or '' }
  local newest = last
  for at = 5, #args, 4 do
    local commit = tonumber(args[at])
    if commit > last then
      collect(log, pending, tonumber(args[at + 2]), args[at + 3])
      if commit > newest then
        newest, marks[#marks + 1] = commit, struct.pack('>d', commit) .. args[at + 1]
      end
    end
  end
  append_collected(log, pending)
  -- Also when nothing is new: a caller that waits for replicas waits for this write.
  redis.call('HSET', keys[3], source .. ':last', digits(newest))
  if newest > last then redis.call('HSET', keys[3], source .. ':marks', string.sub(table.concat(marks), -MARKS_BYTES)) end
  return { digits(log.offset), digits(newest) }
end

-- events_replay: appends the events of dead letters that are replayed, each dead letter's once, as long as its id is
-- among the last REPLAYED ones.
-- KEYS: head, log, producers
-- ARGV: 1 to 4 as above, then: id of the dead letter, number of events (ENTRY_EVENTS at most), the events; a dead
--       letter with more events comes several times
-- Returns: the last offset
local function replay(keys, args)
  local source = args[2]
  local refused = refusal(keys[3], source, args[3], args[4])
  if refused then return refused end
  local log, pending = open_log(keys, args[1]), { count = 0 }
  local replayed, known, added = {}, {}, {}
  for id in string.gmatch(redis.call('HGET', keys[3], source .. ':replayed') or '', '%S+') do
    replayed[#replayed + 1], known[id] = id, true
  end
  for at = 5, #args, 3 do
    local id = args[at]
    if not known[id] then
      collect(log, pending, tonumber(args[at + 1]), args[at + 2])
      if not added[id] then replayed[#replayed + 1], added[id] = id, true end
    end
  end
  append_collected(log, pending)
  local first = math.max(1, #replayed - REPLAYED + 1)
  redis.call('HSET', keys[3], source .. ':replayed', table.concat(replayed, ' ', first))
  return digits(log.offset)
end

redis.register_function('events_append', append_events)
-- Allowed when Redis is full: time goes on, and the entries are small.
redis.register_function { function_name = 'events_tick', callback = tick, flags = { 'allow-oom' } }
redis.register_function { function_name = 'events_fire', callback = fire, flags = { 'allow-oom' } }
-- Forwarding continues what has begun, and lets the source's emits be deleted.
redis.register_function { function_name = 'events_open_source', callback = open_source, flags = { 'allow-oom' } }
redis.register_function { function_name = 'events_begin_source', callback = begin_source, flags = { 'allow-oom' } }
redis.register_function { function_name = 'events_forward', callback = forward, flags = { 'allow-oom' } }
redis.register_function { function_name = 'events_replay', callback = replay, flags = { 'allow-oom' } }
