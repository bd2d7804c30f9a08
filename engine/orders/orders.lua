#!lua name=shuiwei_orders
-- The order book's writes: remembers an order under its id, numbers the tries at placing it and at paying for it, and notes on what evidence it
-- took each of its steps (R16). A step is noted once, and the same call appends it to the partition's log: the log is what the jobs feed on.

-- attempt, fingerprint, steps that have been noted (a bit each), when it was created; the order's body follows as it came.
local ORDER = '<I4dI2d'
local CREATED = 0
-- As msgpack writes them: nothing, and the mark before a double.
local NIL, DOUBLE = '\192', '\203'

local function digits(n)
  return string.format('%.0f', n)
end

-- The time to go by. `given`: '' for this server's clock alone; a number for a clock of the caller's own (replay, demo); or '~<the caller's wall
-- clock>,<by how much the two may differ>'. Past that bound one of the two clocks is wrong, and nobody here knows which: time is then the
-- earlier of the two.
local function time_of(given)
  if tonumber(given) then return tonumber(given) end
  local time = redis.call('TIME')
  local server = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local caller, bound = string.match(given, '^~(%d+),(%d+)')
  if not caller or math.abs(server - tonumber(caller)) <= tonumber(bound) then return server end
  return math.min(server, tonumber(caller))
end

-- A partition's log: its last offset, its clock, which never goes back, and how many events it has held.
local function open_log(head_key, given)
  local head = redis.call('HMGET', head_key, 'offset', 'clock', 'events')
  local now = time_of(given)
  return { offset = tonumber(head[1]) or 0, clock = math.max(now, tonumber(head[2]) or 0), last = tonumber(head[2]) or 0, events = tonumber(head[3]) or 0 }
end

-- Appends an entry: how many events the log has held with it, its time, the events one after the other. The head counts how often each step has
-- been taken: 's<step>'.
local function append(head_key, log_key, log, events, taken)
  for step, times in pairs(taken) do redis.call('HINCRBY', head_key, 's' .. step, times) end
  log.offset = log.offset + 1
  log.events = log.events + #events
  redis.call('XADD', log_key, digits(log.offset) .. '-0', 'n', digits(log.events), 't', digits(log.clock), 'b', table.concat(events))
  redis.call('HSET', head_key, 'offset', digits(log.offset), 'clock', digits(log.clock), 'events', digits(log.events))
end

-- An event is a msgpack list that lacks its last two elements: when the order was created, and its body where a step asks for it.
local function event(beginning, created, body)
  return beginning .. DOUBLE .. struct.pack('>d', created) .. body
end

-- order_open: for each order, remembers it or finds it again.
-- KEYS: head, log, then buckets of the UTC days that the ids carry
-- ARGV: 1 seconds to keep a bucket (0: for good), 2 clock (see time_of), then for each order: number of its bucket, id, fingerprint,
--       body, its event
-- Returns: for each order, which attempt this is (from 1), or -1 when the id came with another body before
local function open(keys, args)
  local attempts, events = {}, {}
  local log = open_log(keys[1], args[2])
  for at = 3, #args, 5 do
    local key, id, print, body = keys[2 + tonumber(args[at])], args[at + 1], tonumber(args[at + 2]), args[at + 3]
    local known = redis.call('HGET', key, id)
    local attempt, steps, created = 1, 2 ^ CREATED, log.clock
    if known then
      local before, first_print
      before, first_print, steps, created = struct.unpack(ORDER, known)
      attempt = first_print == print and before + 1 or -1
    else
      events[#events + 1] = event(args[at + 4], created, NIL)
    end
    if attempt > 0 then redis.call('HSET', key, id, struct.pack(ORDER, attempt, print, steps, created) .. body) end
    attempts[#attempts + 1] = attempt
  end
  if args[1] ~= '0' then
    for i = 3, #keys do redis.call('EXPIRE', keys[i], args[1], 'NX') end
  end
  if #events > 0 then append(keys[1], keys[2], log, events, { [CREATED] = #events }) end
  return attempts
end

-- order_try: numbers another try at an order.
-- KEYS: the bucket of its day   ARGV: id
-- Returns: the number, the order's body and the steps that have been noted, or nil when the order is not known
local function try(keys, args)
  local known = redis.call('HGET', keys[1], args[1])
  if not known then return false end
  local attempt, print, steps, created, after = struct.unpack(ORDER, known)
  local body = string.sub(known, after)
  redis.call('HSET', keys[1], args[1], struct.pack(ORDER, attempt + 1, print, steps, created) .. body)
  return { attempt + 1, body, steps }
end

-- order_note: notes steps of orders, each on its evidence and once.
-- KEYS: head, log, then buckets
-- ARGV: 1 clock (see time_of), then for each step: number of the order's bucket, id, the step, 1 when the event takes the order's
--       body along, the event
-- Returns: for each step, 1 when it has been noted now, 0 when it had been before, -1 when the order is not known
local function note(keys, args)
  local noted, events, taken = {}, {}, {}
  local log = open_log(keys[1], args[1])
  for at = 2, #args, 5 do
    local key, id, step = keys[2 + tonumber(args[at])], args[at + 1], args[at + 2]
    local bit_of = 2 ^ tonumber(step)
    local known = redis.call('HGET', key, id)
    local result = -1
    if known then
      local attempt, print, steps, created, after = struct.unpack(ORDER, known)
      result = 0
      if math.floor(steps / bit_of) % 2 == 0 then
        local body = string.sub(known, after)
        redis.call('HSET', key, id, struct.pack(ORDER, attempt, print, steps + bit_of, created) .. body)
        events[#events + 1] = event(args[at + 4], created, args[at + 3] == '1' and body or NIL)
        taken[step] = (taken[step] or 0) + 1
        result = 1
      end
    end
    noted[#noted + 1] = result
  end
  if #events > 0 then append(keys[1], keys[2], log, events, taken) end
  return noted
end

-- order_tick: lets time pass in a partition where a deadline has come: timers fire by the log's clock, and the log may have nothing to tell.
-- KEYS: head, log, timers   ARGV: 1 clock (see time_of)   Returns: 1 when it has
local function tick(keys, args)
  local log = open_log(keys[1], args[1])
  if log.clock == log.last or #redis.call('ZRANGEBYSCORE', keys[3], '-inf', digits(log.clock), 'LIMIT', 0, 1) == 0 then return 0 end
  append(keys[1], keys[2], log, {}, {})
  return 1
end

-- When Redis is full no new order is taken; those that are known go on.
redis.register_function('order_open', open)
redis.register_function { function_name = 'order_try', callback = try, flags = { 'allow-oom' } }
redis.register_function { function_name = 'order_note', callback = note, flags = { 'allow-oom' } }
redis.register_function { function_name = 'order_tick', callback = tick, flags = { 'allow-oom' } }
