#!lua name=shuiwei_orders
-- The order store's writes: keeps an order under its id, numbers the attempts at placing it and at paying for it, and
-- records its steps, each on evidence (R16). A step is recorded once, and the same call appends it to the partition's
-- log, which the jobs read. Personal data is kept beside the orders, deleted with the step after which it is not needed
-- here, and never in the log. A deployment of format 1 keeps it in the order's body and logs it with the lock, because
-- the release before this one reads it there. Ended orders are deleted by day-expiry.lua.

-- attempt, fingerprint, steps that have been recorded (a bit each), creation time; the order's body follows as it came.
local ORDER = '<I4dI2d'
-- Steps by their index in the list of model.ts.
local CREATED, PAID, LOCKED, PICKING, OUTBOUND, REPORTED, CANCELLED, CANCELLING, CANCELLATION_REFUSED = 0, 1, 2, 3, 6, 7, 8, 9, 10
-- Among the steps: the order's request to the warehouse is a dead letter; and, the highest, the personal data was
-- erased before the warehouse had it.
local DEAD_LETTER, ERASED = 14, 2 ^ 15
local PARTLY_OUTBOUND = 11
-- The argument for a step that may come again.
local AGAIN = '3'
-- As msgpack writes them: nothing, and the mark before a double.
local NIL, DOUBLE = '\192', '\203'

local function has_step(steps, step)
  return math.floor(steps / 2 ^ step) % 2 == 1
end

-- Whether a step comes too late: once a cancellation was requested the order must not be paid any more, and once it is
-- cancelled its cancellation is not refused any more.
local function is_late(steps, step)
  if step == PAID or step == LOCKED then return has_step(steps, CANCELLING) and not has_step(steps, LOCKED) end
  return step == CANCELLATION_REFUSED and has_step(steps, CANCELLED)
end

local function digits(n)
  return string.format('%.0f', n)
end

-- include server-time.lua

-- A partition's log: its last offset, its clock, which never goes back, and how many events it has held. For a log
-- whose clock was once set ahead, also: up to when deadlines are over (`over`), and from when new ones count (`from`).
-- When clocks disagree, these are the earliest and the latest possible time.
local function open_log(head_key, given)
  local head = redis.call('HMGET', head_key, 'offset', 'clock', 'events')
  local now, agree, bound = time_of(given)
  local last = tonumber(head[2]) or 0
  local clock = math.max(now, last)
  local ahead = led_ahead(clock, now, bound)
  return {
    offset = tonumber(head[1]) or 0, events = tonumber(head[3]) or 0,
    now = now, clock = clock, last = last,
    over = clock - ahead, from = agree and clock - ahead or clock,
    is_led_ahead = agree and ahead > 0,
  }
end

-- Appends an entry: how many events the log has held with it, its time, the events one after the other. The head
-- counts how often each step has been taken: 's<step>'.
local function append(head_key, log_key, log, events, taken)
  for step, times in pairs(taken) do redis.call('HINCRBY', head_key, 's' .. step, times) end
  log.offset = log.offset + 1
  log.events = log.events + #events
  redis.call('XADD', log_key, digits(log.offset) .. '-0', 'n', digits(log.events), 't', digits(log.clock), 'b', table.concat(events))
  redis.call('HSET', head_key, 'offset', digits(log.offset), 'clock', digits(log.clock), 'events', digits(log.events))
end

-- An event is a msgpack list that lacks its last two elements: when the order was created, and its body where a step
-- asks for it.
local function event(beginning, created, body)
  return beginning .. DOUBLE .. struct.pack('>d', created) .. body
end

-- KEYS hold two a day from here on: its orders, its buyers.
local FIRST_DAY = 6
local function day_keys(keys, number)
  local at = FIRST_DAY + 2 * (tonumber(number) - 1)
  return keys[at], keys[at + 1]
end

-- 1 for a locked order that ended before the warehouse had it; the head's 'left' is the sum. Waiting orders are those
-- with 'locked', without those with 'picking' and without 'left'.
local function ended_before_picking(steps)
  local is_ended = has_step(steps, OUTBOUND) or has_step(steps, CANCELLED) or has_step(steps, DEAD_LETTER)
  return has_step(steps, LOCKED) and not has_step(steps, PICKING) and is_ended and 1 or 0
end

-- Only bodies of format 1 name a buyer. The text alone may also be part of an attribute.
local function names_buyer(body)
  return string.find(body, 'shipTo', 1, true) ~= nil and cmsgpack.unpack(body).shipTo ~= nil
end

-- A body without the buyer, and the buyer, if it has one.
local function part(body)
  if not names_buyer(body) then return body end
  local whole = cmsgpack.unpack(body)
  local buyer = whole.shipTo
  whole.shipTo = nil
  return cmsgpack.pack(whole), cmsgpack.pack(buyer)
end

-- Sets when personal data is to be erased, after a step: some time after the order's end, or long after its payment if
-- no end comes. An order without personal data is not in the set.
local function schedule(erasures_key, id, step, steps, from, keep, names)
  local after
  if step == PAID then after = keep.longest
  elseif step == OUTBOUND or step == REPORTED then after = keep.ended
  elseif step == CANCELLED then after = has_step(steps, PAID) and keep.ended or keep.unpaid
  end
  if not after then return end
  local at = after == 0 and '+inf' or digits(from + after)
  if names then redis.call('ZADD', erasures_key, at, id) else redis.call('ZADD', erasures_key, 'XX', at, id) end
end

-- include ./day-expiry.lua

-- order_open: for each order, stores it or finds it.
-- KEYS: head, log, erasures, days, late ends, then orders and buyers of each UTC day that the ids carry
-- ARGV: 1 ms to keep a day (0: for good), 2 clock (see time_of), 3 ms after which the personal data of an order that is
--       never paid is erased, 4 1: a day is stripped when its time is over; 0: it expires, then for each order: number
--       of its day, id, fingerprint, body, its event, 1 when it names a buyer, the buyer ('' when in the body)
-- Returns: for each order, which attempt this is (from 1), or -1 when the id came with another body before
local function open(keys, args)
  local attempts, events = {}, {}
  local log = open_log(keys[1], args[2])
  for at = 5, #args, 7 do
    local key, buyers_key = day_keys(keys, args[at])
    local id, fingerprint, body = args[at + 1], tonumber(args[at + 2]), args[at + 3]
    local known = redis.call('HGET', key, id)
    local attempt, steps, created = 1, 2 ^ CREATED, log.clock
    if known then
      local before, first_fingerprint, after
      before, first_fingerprint, steps, created, after = struct.unpack(ORDER, known)
      attempt = first_fingerprint == fingerprint and before + 1 or -1
      -- As stored: personal data that was erased does not come back with a repeated request.
      body = string.sub(known, after)
    else
      events[#events + 1] = event(args[at + 4], created, NIL)
      if args[at + 5] == '1' then redis.call('ZADD', keys[3], digits(log.from + tonumber(args[3])), id) end
      if args[at + 6] ~= '' then redis.call('HSET', buyers_key, id, args[at + 6]) end
    end
    if attempt > 0 then redis.call('HSET', key, id, struct.pack(ORDER, attempt, fingerprint, steps, created) .. body) end
    attempts[#attempts + 1] = attempt
  end
  local keep = tonumber(args[1])
  for i = FIRST_DAY, keep > 0 and #keys or 0, 2 do
    if args[4] ~= '1' or not list_day(keys[4], keys[i], keys[i + 1], log.now, keep) then
      redis.call('PEXPIRE', keys[i], digits(keep), 'NX')
      redis.call('PEXPIRE', keys[i + 1], digits(keep), 'NX')
    end
  end
  if #events > 0 then append(keys[1], keys[2], log, events, { [CREATED] = #events }) end
  return attempts
end

-- order_begin_attempt: numbers another attempt at an order.
-- KEYS: the bucket of its day   ARGV: id
-- Returns: the number, the order's body and the steps that have been recorded, or nil when the order is not known
local function begin_attempt(keys, args)
  local known = redis.call('HGET', keys[1], args[1])
  if not known then return false end
  local attempt, fingerprint, steps, created, after = struct.unpack(ORDER, known)
  local body = string.sub(known, after)
  redis.call('HSET', keys[1], args[1], struct.pack(ORDER, attempt + 1, fingerprint, steps, created) .. body)
  return { attempt + 1, body, steps }
end

-- order_record: records steps of orders, each on its evidence and once.
-- KEYS: head, log, erasures, days, late ends, then orders and buyers of each day
-- ARGV: 1 clock (see time_of), 2 to 4 ms for which personal data is kept: of an order never paid, of one that has
--       ended, of one without an end (0: without limit), 5 ms after which a day is stripped (0: never), then for each
--       step: number of the order's day, id, the step (or DEAD_LETTER, which is not logged), what the event holds (0
--       nothing, 1 the body as it is, 2 the body without the buyer, 3 nothing, and the step may come again), the event
-- Returns: for each step, 1 when it has been recorded now, 0 when it had been before, -1 when the order is not known,
--          -2 when it must not be taken any more: a payment that comes after a cancellation was requested
local function record(keys, args)
  local results, events, taken, left = {}, {}, {}, 0
  local log = open_log(keys[1], args[1])
  local keep = { unpaid = tonumber(args[2]), ended = tonumber(args[3]), longest = tonumber(args[4]) }
  local keep_day = tonumber(args[5])
  for at = 6, #args, 5 do
    local key, buyers_key = day_keys(keys, args[at])
    local id, step, holds = args[at + 1], tonumber(args[at + 2]), args[at + 3]
    local known = redis.call('HGET', key, id)
    local result = -1
    if known then
      local attempt, fingerprint, steps, created, after = struct.unpack(ORDER, known)
      local is_new = not has_step(steps, step)
      result = 0
      if is_new and is_late(steps, step) then
        result = -2
      elseif is_new or holds == AGAIN then
        local body = string.sub(known, after)
        local names = names_buyer(body)
        local logged = NIL
        if holds == '1' then logged = body end
        if holds == '2' then
          local buyer
          body, buyer = part(body)
          logged = body
          if buyer then redis.call('HSET', buyers_key, id, buyer) end
        end
        if step == PICKING then
          -- The warehouse has the order, and the object storage has what the warehouse has no field for.
          body = part(body)
          redis.call('HDEL', buyers_key, id)
        end
        if is_new then
          redis.call('HSET', key, id, struct.pack(ORDER, attempt, fingerprint, steps + 2 ^ step, created) .. body)
          schedule(keys[3], id, step, steps, log.from, keep, names)
          left = left + ended_before_picking(steps + 2 ^ step) - ended_before_picking(steps)
          if keep_day > 0 and (step == OUTBOUND or step == CANCELLED) then store_late_end(keys, key, id, log.now, keep_day) end
        end
        if step ~= DEAD_LETTER then
          events[#events + 1] = event(args[at + 4], created, logged)
          taken[step] = (taken[step] or 0) + 1
        end
        result = 1
      end
    end
    results[#results + 1] = result
  end
  if #events > 0 then append(keys[1], keys[2], log, events, taken) end
  if left ~= 0 then redis.call('HINCRBY', keys[1], 'left', left) end
  return results
end

-- order_correct_waiting: corrects the count of waiting orders, which older releases got wrong because they did not
-- count all ends. Only when no order of the partition waits: the jobs have read the whole log, and the sink has
-- delivered all of their emits.
-- KEYS: head, task of the jobs, task of the sink
-- ARGV: 1 the job's cursor, 2 the sink's cursor, each a field of its task
-- Returns: 1 when no order waits
local function correct_waiting(keys, args)
  local head = redis.call('HMGET', keys[1], 'offset', 's' .. LOCKED, 's' .. PICKING, 'left', 'waiting-base')
  local jobs = redis.call('HMGET', keys[2], args[1], 'lastOut', 'lastEmits')
  local sink = redis.call('HGET', keys[3], args[2])
  local n = function(text) return tonumber(text) or 0 end
  if n(head[1]) ~= n(jobs[1]) or n(jobs[3] or jobs[2]) ~= n(sink) then return 0 end
  local base = n(head[2]) - n(head[3]) - n(head[4])
  if base ~= n(head[5]) then redis.call('HSET', keys[1], 'waiting-base', digits(base)) end
  return 1
end

local function is_due(key, at)
  return #redis.call('ZRANGEBYSCORE', key, '-inf', digits(at), 'LIMIT', 0, 1) > 0
end

-- order_tick: appends an empty entry when a timer of the partition is due, because timers fire by the log's clock.
-- Deletes orders that have ended.
-- KEYS: head, log, timers, erasures, days, late ends
-- ARGV: 1 clock (see time_of), 2 ms after which a day is stripped (0: never), 3 and 4 base names of the days' orders
-- and buyers
-- Returns: 1 when personal data is due to be erased, plus 2 when the deployment has a warehouse
local function tick(keys, args)
  local log = open_log(keys[1], args[1])
  if log.clock ~= log.last and is_due(keys[3], log.clock) then append(keys[1], keys[2], log, {}, {}) end
  local keep = tonumber(args[2])
  if keep > 0 then strip_days(keys, { orders = args[3], buyers = args[4] }, log, keep) end
  local has_warehouse = redis.call('HEXISTS', keys[1], 'waiting-base') == 1
  return (is_due(keys[4], log.over) and 1 or 0) + (has_warehouse and 2 or 0)
end

-- order_due_erasures: orders whose personal data is due to be erased.
-- KEYS: head, erasures
-- ARGV: 1 clock (see time_of), 2 how many at most, 3 only those that have been due for so many ms
-- Returns: their ids
local function due_erasures(keys, args)
  local log = open_log(keys[1], args[1])
  return redis.call('ZRANGEBYSCORE', keys[2], '-inf', digits(log.over - tonumber(args[3])), 'LIMIT', 0, tonumber(args[2]))
end

-- order_erase: erases the personal data of orders. The caller removes it from other storages: until it confirms that
-- (ZREM), the order stays in the set and is due again after a while.
-- KEYS: head, log, erasures, days, late ends, then orders and buyers of each day
-- ARGV: 1 clock (see time_of), 2 1: only when it is due; 0: on request, 3 ms until it is due again, then for each
--       order: number of its day, id
-- Returns: for each order, 1 when its personal data is erased here, 0 when it is not due, -1 when the order is not
--          known, -2 when it is on its way to the warehouse
local function erase(keys, args)
  local log = open_log(keys[1], args[1])
  local has_warehouse = redis.call('HEXISTS', keys[1], 'waiting-base') == 1
  local results = {}
  for at = 4, #args, 2 do
    local key, buyers_key = day_keys(keys, args[at])
    local id = args[at + 1]
    local known = redis.call('HGET', key, id)
    local result = known and 1 or -1
    if args[2] == '1' then
      local score = redis.call('ZSCORE', keys[3], id)
      if not score or tonumber(score) > log.over then result = 0 end
    elseif known then
      local _, _, steps = struct.unpack(ORDER, known)
      local is_open = not has_step(steps, PICKING) and not has_step(steps, OUTBOUND) and not has_step(steps, CANCELLED)
      if has_warehouse and has_step(steps, PAID) and is_open then result = -2 end
    end
    if result == 1 then
      local attempt, fingerprint, steps, created, after = struct.unpack(ORDER, known)
      local body, buyer = part(string.sub(known, after))
      local deleted = redis.call('HDEL', buyers_key, id)
      if (buyer or deleted == 1) and steps < ERASED then steps = steps + ERASED end
      redis.call('HSET', key, id, struct.pack(ORDER, attempt, fingerprint, steps, created) .. body)
    end
    if result == 1 or (result == -1 and args[2] == '1') then redis.call('ZADD', keys[3], digits(log.from + tonumber(args[3])), id) end
    results[#results + 1] = result
  end
  return results
end

-- When Redis is full no new order is accepted; known ones go on.
redis.register_function('order_open', open)
redis.register_function { function_name = 'order_begin_attempt', callback = begin_attempt, flags = { 'allow-oom' } }
redis.register_function { function_name = 'order_record', callback = record, flags = { 'allow-oom' } }
redis.register_function { function_name = 'order_correct_waiting', callback = correct_waiting, flags = { 'allow-oom' } }
redis.register_function { function_name = 'order_tick', callback = tick, flags = { 'allow-oom' } }
redis.register_function { function_name = 'order_due_erasures', callback = due_erasures, flags = { 'no-writes' } }
redis.register_function { function_name = 'order_erase', callback = erase, flags = { 'allow-oom' } }
