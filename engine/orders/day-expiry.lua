-- How ended orders are deleted, day by day. A part of orders.lua. Every day that has orders is listed. When its
-- time is over, orders that have ended are deleted in slices, each a millisecond or two; the others stay, and one that
-- ended long after its day stays for as long after its end (R3). In format 1 a day expires as a whole instead.

local DAY_MS = 86400000
local STRIP_COUNT = 500 -- records of one call: about a millisecond
local STRIP_BYTES = 1048576 -- of the records of one call: about a millisecond, too
local STRIP_AT_ONCE = 10 -- records, whose length is not known before they are read: a body may have 128 KiB
local DAYS_AT_ONCE = 50 -- looked for in one call: some hundred microseconds
local DAYS_AHEAD = 2 -- an id's day may be tomorrow's, and this clock a day behind
local CHUNK = 2000 -- arguments of one Redis command; unpack fails near 8,000

local function day_of_key(key)
  return tonumber(string.match(key, '%d+$'))
end

-- The last day that is past its time, which is counted from the day's end.
local function last_day(now, keep)
  return math.floor((now - keep) / DAY_MS) - 1
end

-- Whether an order has ended: it has left, was cancelled, or was never paid.
local function is_over(steps)
  if has_step(steps, OUTBOUND) or has_step(steps, CANCELLED) then return true end
  return not (has_step(steps, PAID) or has_step(steps, LOCKED) or has_step(steps, CANCELLING) or has_step(steps, PARTLY_OUTBOUND))
end

-- Whether a day is listed for stripping, now or before. A day whose ids are too old or too new to be accepted is not:
-- nothing would ever read it.
local function list_day(days_key, orders_key, buyers_key, now, keep)
  local day = day_of_key(orders_key)
  if day <= last_day(now, keep) or day > math.floor(now / DAY_MS) + DAYS_AHEAD then
    return redis.call('SISMEMBER', days_key, day) == 1
  end
  if redis.call('SADD', days_key, day) == 1 then
    redis.call('PERSIST', orders_key)
    redis.call('PERSIST', buyers_key)
  end
  return true
end

-- Stores when an order has ended, if that is long after its day: it is kept from its end on, too.
local function store_late_end(keys, orders_key, id, now, keep)
  local day = day_of_key(orders_key)
  if now - day * DAY_MS <= keep / 2 or redis.call('SISMEMBER', keys[4], day) == 0 then return end
  redis.call('HSET', keys[5], id, digits(now))
end

-- Once a day, DAYS_AT_ONCE a call: lists the days that have a bucket and removes the expiry that was set in format 1,
-- or by a process that did not have format 2 yet. Such a day may be older than its time, if its first order came late.
local function find_days(keys, bases, now, keep, seen, next_day)
  local today = math.floor(now / DAY_MS)
  if seen and seen >= today then return end
  local first = last_day(now, keep) - math.floor(keep / DAY_MS)
  local from = math.max(first, next_day or first)
  local to = math.min(from + DAYS_AT_ONCE - 1, today + DAYS_AHEAD)
  for day = from, to do
    if redis.call('EXISTS', bases.orders .. day) == 1 then
      redis.call('SADD', keys[5], day)
      redis.call('PERSIST', bases.orders .. day)
      redis.call('PERSIST', bases.buyers .. day)
    end
  end
  if to < today + DAYS_AHEAD then
    redis.call('HSET', keys[1], 'days-next', to + 1)
  else
    redis.call('HSET', keys[1], 'days-seen', today)
    redis.call('HDEL', keys[1], 'days-next')
  end
end

local function remove(key, ids)
  for first = 1, #ids, CHUNK do redis.call('HDEL', key, unpack(ids, first, math.min(first + CHUNK - 1, #ids))) end
end

-- Deletes ended orders of the days whose time is over, STRIP_COUNT records or STRIP_BYTES a call; one that ended late
-- stays for as long after its end. The progress is in the head: up to which day all is done, the day under work, and
-- its cursor.
local function strip(keys, bases, now, keep, done, day_before, cursor)
  local last = last_day(now, keep)
  if done and done >= last then return end
  local days = redis.call('SMEMBERS', keys[5])
  local day
  for i = 1, #days do
    local each = tonumber(days[i])
    if each <= last and (not day_before or each >= day_before) and (not day or each < day) then day = each end
  end
  if not day then
    redis.call('HSET', keys[1], 'strip-done', last)
    redis.call('HDEL', keys[1], 'strip-day', 'strip-cursor')
    return
  end
  local orders_key, buyers_key = bases.orders .. day, bases.buyers .. day
  redis.call('PERSIST', orders_key)
  redis.call('PERSIST', buyers_key)
  local has_late_ends = redis.call('EXISTS', keys[6]) == 1
  local ended_ids, pages, bytes = {}, 0, 0
  local at = day == day_before and cursor or '0'
  repeat
    local page = redis.call('HSCAN', orders_key, at, 'COUNT', STRIP_AT_ONCE)
    at, pages = page[1], pages + 1
    for i = 1, #page[2], 2 do
      local id, record = page[2][i], page[2][i + 1]
      bytes = bytes + #record
      local _, _, steps = struct.unpack(ORDER, record)
      local ended = has_late_ends and tonumber(redis.call('HGET', keys[6], id))
      if is_over(steps) and not (ended and ended + keep > now) then ended_ids[#ended_ids + 1] = id end
    end
  until at == '0' or pages * STRIP_AT_ONCE >= STRIP_COUNT or bytes >= STRIP_BYTES
  remove(orders_key, ended_ids)
  remove(buyers_key, ended_ids)
  if has_late_ends then remove(keys[6], ended_ids) end
  if at ~= '0' then
    redis.call('HSET', keys[1], 'strip-day', day, 'strip-cursor', at)
  else
    if redis.call('EXISTS', orders_key) == 0 then
      redis.call('SREM', keys[5], day)
      redis.call('UNLINK', buyers_key)
    end
    redis.call('HSET', keys[1], 'strip-day', day + 1, 'strip-cursor', '0')
  end
end

-- Days that were handled ahead of their time are handled again when it has come.
local function begin_again(head_key, now, keep)
  local head = redis.call('HMGET', head_key, 'days-seen', 'strip-done')
  if head[1] and tonumber(head[1]) > math.floor(now / DAY_MS) then redis.call('HDEL', head_key, 'days-seen', 'days-next') end
  if head[2] and tonumber(head[2]) > last_day(now, keep) then redis.call('HDEL', head_key, 'strip-done', 'strip-day', 'strip-cursor') end
end

-- A tick's part: lists the days once a day, and deletes a slice of ended orders.
-- `keys` are those of order_tick, `bases` the base names of the days' orders and buyers.
local function strip_days(keys, bases, log, keep)
  if log.is_led_ahead then begin_again(keys[1], log.now, keep) end
  local head = redis.call('HMGET', keys[1], 'days-seen', 'days-next', 'strip-done', 'strip-day', 'strip-cursor')
  find_days(keys, bases, log.now, keep, tonumber(head[1]), tonumber(head[2]))
  strip(keys, bases, log.now, keep, tonumber(head[3]), tonumber(head[4]), head[5])
end
