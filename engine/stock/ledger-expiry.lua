-- What ends by time: holds, and the retention of ids. A part of ledger.lua. A day is *retired* when it is older than
-- the retention: its ids are refused, and of its records only those stay that `is_kept` keeps.

-- When the next hold is due: of those in Redis that this batch has not ended, and of those that it has added.
local function find_next_due(partition)
  local ended = #partition.ended
  local next_due
  if ended == 0 then
    next_due = first_due(partition.holds_key)
  else
    local removed = {}
    for i = 1, ended do removed[partition.ended[i]] = true end
    local first = redis.call('ZRANGE', partition.holds_key, 0, ended, 'WITHSCORES')
    next_due = math.huge
    for i = 1, #first, 2 do
      if not removed[first[i]] then
        next_due = tonumber(first[i + 1])
        break
      end
    end
  end
  for i = 1, partition.due_n, 2 do next_due = math.min(next_due, tonumber(partition.due[i])) end
  partition.next_due = next_due
  return next_due
end

-- Ends holds that are due, the oldest first, SWEEP_LIMIT at most, as one log entry. A hold whose record is lost ends
-- without a transfer, because its units are unknown; an audit finds them. Returns how many holds ended.
local function sweep(partition)
  flush(partition)
  local due =
    redis.call('ZRANGEBYSCORE', partition.holds_key, '-inf', digits(present(partition)), 'LIMIT', 0, SWEEP_LIMIT)
  local ids, names, units, from_pools = {}, {}, {}, {}
  for _, id in ipairs(due) do
    local day = day_of(id)
    local record = partition.records[id] or redis.call('HGET', partition.lines_base .. day, id)
    partition.ended[#partition.ended + 1] = id
    if record then
      local i = #ids + 1
      local kind, outcome, _, byte, attempt, expires, held = struct.unpack(HEADER, record)
      local name, pool = string.sub(record, NAME_AT), byte % POOL_CODES
      return_units(partition, cell_position(partition, name), pool, RESERVED, held)
      put_record(partition, id, day, kind, outcome, EXPIRED, byte, attempt, expires, held, fingerprint_of(record), name)
      ids[i], names[i], units[i], from_pools[i] = id, name, held, pool
    end
  end
  flush(partition)
  if #ids > 0 then
    append(partition, #ids, 't', digits(partition.clock), 'x', cmsgpack.pack({ ids, names, units, from_pools }))
    save_head(partition)
  end
  find_next_due(partition)
  return #due
end

-- Whether a record of a retired day stays: a line stays while it holds units or has missing units, and then until as
-- many days have passed since its end as ids are kept.
local function is_kept(partition, record)
  local kind, outcome, state, _, _, expires = struct.unpack(HEADER, record)
  if kind ~= RESERVE or outcome ~= ACCEPTED or state == NONE then return false end
  return holds_units(state) or expires < 0 or math.floor(expires / DAY_MS) > partition.retired_day
end

-- Deletes records of retired days that are not kept, STRIP_COUNT a call. The head holds the progress: the day under
-- work and its cursor, and the last retired day up to which all is done.
local function strip_retired_day(partition)
  local head = redis.call('HMGET', partition.head_key, 'strip-done', 'strip-day', 'strip-cursor')
  if not partition.retired_day or (tonumber(head[1]) or -1) >= partition.retired_day then return end
  local days_key, last = partition.lines_base .. 'old', tonumber(head[2])
  local days = redis.call('SMEMBERS', days_key)
  local day
  for i = 1, #days do
    local each = tonumber(days[i])
    if (not last or each >= last) and (not day or each < day) then day = each end
  end
  if not day then
    redis.call('HSET', partition.head_key, 'strip-done', partition.retired_day)
    redis.call('HDEL', partition.head_key, 'strip-day', 'strip-cursor')
    return
  end
  local key = partition.lines_base .. day
  local page = redis.call('HSCAN', key, day == last and head[3] or '0', 'COUNT', STRIP_COUNT)
  local removed = {}
  for i = 1, #page[2], 2 do
    if not is_kept(partition, page[2][i + 1]) then removed[#removed + 1] = page[2][i] end
  end
  call_chunked('HDEL', key, removed, #removed)
  if page[1] ~= '0' then
    redis.call('HSET', partition.head_key, 'strip-day', day, 'strip-cursor', page[1])
  else
    if redis.call('EXISTS', key) == 0 then redis.call('SREM', days_key, day) end
    redis.call('HSET', partition.head_key, 'strip-day', day + 1, 'strip-cursor', '0')
  end
end

-- Retires the days that no new id may name; not while holds are due.
local function retire_days(partition)
  local last = math.floor(present(partition) / DAY_MS) - partition.retention_days - HOLD_MARGIN_DAYS - 1
  partition.retired_day = partition.retired_day or last - 1
  if partition.retired_day >= last or partition.refused_by or present(partition) >= partition.next_due then return end
  for day = partition.retired_day + 1, last do
    if partition.format == 1 then
      -- The previous release reads the same data, and deletes the day as a whole.
      redis.call('UNLINK', partition.lines_base .. day)
    elseif redis.call('EXISTS', partition.lines_base .. day) == 1 or partition.written[day] then
      redis.call('SADD', partition.lines_base .. 'old', day)
    end
  end
  partition.retired_day = last
  redis.call('HSET', partition.head_key, 'forgotten', last, 'retention', partition.retention_days)
end
