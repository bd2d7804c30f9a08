-- The state of one partition during one call, read when first needed and written by `flush`: balances, records of ids,
-- holds, clock and head. A part of ledger.lua.

-- When the first hold in Redis ends.
local function first_due(holds_key)
  return tonumber(redis.call('ZRANGE', holds_key, 0, 0, 'WITHSCORES')[2]) or math.huge
end

local function open_partition(keys, lines_base, retention_days, size, format)
  -- `seal` is the stored name of the head cache.
  local head = redis.call('HMGET', keys[1], 'offset', 'clock', 'forgotten', 'retention', 'events', 'seal')
  local offset, next_due, open_breakers = tonumber(head[1]) or 0, nil, nil
  if head[6] then
    local cached_offset, due, open = struct.unpack(HEAD_CACHE, head[6])
    -- A writer that does not maintain the cache has moved the offset: then the cache is stale.
    if cached_offset == offset then next_due, open_breakers = due, open end
  end
  return {
    head_key = keys[1], cells_key = keys[2], holds_key = keys[3], breakers_key = keys[4], log_key = keys[5],
    lines_base = lines_base,
    format = format, -- of the deployment; in format 1 processes of the previous release read the same data
    moved = {}, -- commands of the segment that moved other units than their kind says
    missing = {}, -- positions of commands whose lines lack units, and how many
    size = size, -- expected number of lines that the call changes
    -- The longest retention so far: an id that was accepted under a longer one stays known.
    retention_days = math.max(retention_days, tonumber(head[4]) or 0),
    offset = offset,
    clock = tonumber(head[2]) or 0, -- the log's
    behind = 0, -- by how much the present is behind the log's clock, after a clock had jumped ahead
    refused_by = nil, -- set when clocks disagree: nothing ends by time, and new reservations get this outcome
    retired_day = tonumber(head[3]), -- ids of this day and earlier ones are refused; stored name `forgotten`
    events = tonumber(head[5]) or 0, -- accepted so far; older logs began this count late
    next_due = next_due or first_due(keys[3]), -- no hold is due earlier; this one may have ended otherwise
    open_breakers = open_breakers or redis.call('HLEN', keys[4]),
    names = {}, count = 0, index = false, -- cells: names; the index by name is built only when a sweep needs it
    balances = {}, dirty = {}, created = {},
    records = {}, -- by id: written by this call
    written = {}, -- by day: ids and records not yet in Redis, alternating; the last record of an id counts
    last_header = {}, -- of the last record, with its packed bytes
    due = false, due_n = 0, due_at = 0, due_text = '', -- holds not yet in Redis: alternating end and id
    ended = {}, -- ids of ended holds that are still in Redis
    deducted = {}, -- packed deduction times of lines that count as demand from now on, in event order; not yet logged
  }
end

-- include server-time.lua

-- Moves the partition's clock on to the time of this call. `clock_arg` is the first argument of the functions; what
-- follows its bound is the outcome for new reservations when clocks disagree. Returns whether the caller gave a clock
-- of its own.
local function set_clock(partition, clock_arg)
  local now, agree, bound = time_of(clock_arg)
  if now > partition.clock then partition.clock = now end
  partition.refused_by = not agree and tonumber(string.match(clock_arg, '(%d+)$')) or nil
  if agree then
    partition.behind = led_ahead(partition.clock, now, bound)
    local yesterday = math.floor((partition.clock - partition.behind) / DAY_MS) - 1
    if partition.behind > 0 and partition.retired_day and partition.retired_day > yesterday then
      -- Records of days that were retired too early are lost. Ids of today are accepted as new all the same: otherwise
      -- no order would be accepted until the log's clock is reached.
      partition.retired_day = yesterday
      redis.call('HSET', partition.head_key, 'forgotten', yesterday)
    end
  end
  return tonumber(clock_arg) ~= nil
end

-- The time that holds, ids and breakers use.
local function present(partition)
  return partition.clock - partition.behind
end

-- The balances of the cell at position c stand at 5 * c - 5 + pool; nil when there is no such cell.
local function load_cell(partition, c, packed)
  if not packed then return end
  local all, base = partition.balances, 5 * c - 5
  all[base + 1], all[base + 2], all[base + 3], all[base + 4], all[base + 5] = struct.unpack(BALANCES, packed)
end

local function load_cells(partition, names)
  local count = #names
  partition.names, partition.count = names, count
  for first = 1, count, CHUNK do
    local last = math.min(first + CHUNK - 1, count)
    local packed = redis.call('HMGET', partition.cells_key, unpack(names, first, last))
    local whole = 0
    for i = 1, #packed do
      if packed[i] and #packed[i] == CELL_BYTES then whole = whole + 1 end
    end
    if whole == count and count <= CELLS_AT_ONCE then
      -- One unpack for all cells is several times as fast. It needs every value to be of the right length.
      partition.balances = { struct.unpack('<' .. string.rep('ddddd', count), table.concat(packed)) }
      partition.balances[5 * count + 1] = nil -- unpack also returns the position where it ended
    else
      for i = first, last do load_cell(partition, i, packed[i - first + 1]) end
    end
  end
end

local function cell_position(partition, name)
  if not partition.index then
    partition.index = {}
    for i = 1, partition.count do partition.index[partition.names[i]] = i end
  end
  local position = partition.index[name]
  if not position then
    position = partition.count + 1
    partition.count, partition.names[position], partition.index[name] = position, name, position
    load_cell(partition, position, redis.call('HGET', partition.cells_key, name))
  end
  return position
end

-- Writes the record of a line or a command. `fingerprint` is 8 bytes, `name` the cell's; all else are numbers.
local function put_record(partition, id, day, kind, outcome, state, pool, attempt, expires, units, fingerprint, name)
  -- Most records of a batch have the same header, and packing is expensive.
  local header = partition.last_header
  if expires ~= header.expires or state ~= header.state or outcome ~= header.outcome or kind ~= header.kind
    or pool ~= header.pool or attempt ~= header.attempt or units ~= header.units then
    header = {
      kind = kind, outcome = outcome, state = state, pool = pool, attempt = attempt, expires = expires, units = units,
      packed = struct.pack(HEADER, kind, outcome, state, pool, attempt, expires, units),
    }
    partition.last_header = header
  end
  local record, list = header.packed .. fingerprint .. name, partition.written[day]
  if not list then
    list = list_of(2 * partition.size)
    list.n = 0
    partition.written[day] = list
  end
  local n = list.n
  list[n + 1], list[n + 2], list.n = id, record, n + 2
  partition.records[id] = record
end

local function add_hold(partition, id, expires)
  -- Most holds of a batch end at the same time, and formatting it is expensive.
  if expires ~= partition.due_at then partition.due_at, partition.due_text = expires, digits(expires) end
  local due, n = partition.due or list_of(2 * partition.size), partition.due_n
  due[n + 1], due[n + 2] = partition.due_text, id
  partition.due, partition.due_n = due, n + 2
  if expires < partition.next_due then partition.next_due = expires end
end

local function end_hold(partition, id)
  -- It may have been added by this batch.
  if partition.records[id] then
    local due, n = partition.due, partition.due_n
    for i = 2, n, 2 do
      if due[i] == id then
        due[i - 1], due[i] = due[n - 1], due[n]
        partition.due_n = n - 2
        return
      end
    end
  end
  partition.ended[#partition.ended + 1] = id
end

-- A cell that exists has all five balances.
local function create_cell(partition, position)
  local all, base = partition.balances, 5 * position - 5
  if all[base + 1] then return end
  for pool = 1, 5 do all[base + pool] = 0 end
  partition.created[#partition.created + 1] = position
end

-- Everything in the cell but presale; 0 when there is no such cell.
local function on_hand(partition, c)
  local all, base = partition.balances, 5 * c - 5
  if not all[base + SELLABLE] then return 0 end
  return all[base + SELLABLE] + all[base + RESERVED] + all[base + COMMITTED] + all[base + SAFETY]
end

-- Whether the cell can take in units from outside of it without exceeding MAX_UNITS.
local function fits(partition, c, pool, amount)
  local held = pool == PRESALE and (partition.balances[5 * c - 5 + PRESALE] or 0) or on_hand(partition, c)
  return amount <= MAX_UNITS - held
end

-- Moves units between two accounts at a cell.
local function transfer(partition, c, from, to, amount)
  local all, base = partition.balances, 5 * c - 5
  if from ~= OUTSIDE then all[base + from] = all[base + from] - amount end
  if to ~= OUTSIDE then all[base + to] = all[base + to] + amount end
  partition.dirty[c] = true
end

-- Returns a line's units from `from` to where they were reserved. Reserved presale units are in no pool.
local function return_units(partition, c, pool, from, amount)
  if pool == PRESALE then transfer(partition, c, OUTSIDE, PRESALE, amount)
  else transfer(partition, c, from, SELLABLE, amount) end
end

-- Writes what has changed since the last flush; the caches stay valid.
local function flush(partition)
  -- The field with an empty location lists the SKU's locations, so that one SKU can be read without a scan.
  for _, position in ipairs(partition.created) do
    local name = partition.names[position]
    local at = string.find(name, '\31', 1, true)
    local field, location = string.sub(name, 1, at), string.sub(name, at + 1)
    local listed = redis.call('HGET', partition.cells_key, field)
    redis.call('HSET', partition.cells_key, field, listed and (listed .. '\31' .. location) or location)
  end
  partition.created = {}
  local all, names, dirty, pack = partition.balances, partition.names, partition.dirty, struct.pack
  local cells, n = list_of(2 * partition.count), 0
  for i = 1, partition.count do
    if dirty[i] then
      local base = 5 * i - 5
      cells[n + 1] = names[i]
      cells[n + 2] = pack(BALANCES, all[base + 1], all[base + 2], all[base + 3], all[base + 4], all[base + 5])
      n = n + 2
    end
  end
  call_chunked('HSET', partition.cells_key, cells, n)
  for day, list in pairs(partition.written) do call_chunked('HSET', partition.lines_base .. day, list, list.n) end
  -- Removed first: a line may be aborted and reserved again in one batch.
  call_chunked('ZREM', partition.holds_key, partition.ended, #partition.ended)
  call_chunked('ZADD', partition.holds_key, partition.due, partition.due_n)
  partition.dirty, partition.written, partition.ended, partition.due_n = {}, {}, {}, 0
end

-- Writes which cells were corrected and when, and the corrections that settle a difference (R14), so that both can be
-- read without the log. `list` alternates the time of the event, cell name, id, units and the instant that the
-- correction belongs to (-1: it settles nothing).
local function save_corrections(corrected_key, settled_key, list)
  for k = 1, #list, 5 do
    local clock, name, instant = list[k], list[k + 1], list[k + 4]
    redis.call('ZADD', corrected_key, 'GT', digits(clock), name)
    if instant >= 0 then
      local settled = table.concat({ name, list[k + 2], digits(list[k + 3]), digits(instant) }, '\31')
      redis.call('ZADD', settled_key, digits(clock), settled)
    end
  end
  local newest = list[#list - 4]
  local oldest = '(' .. digits(newest - CORRECTIONS_KEPT_MS)
  redis.call('ZREMRANGEBYSCORE', corrected_key, '-inf', oldest)
  redis.call('ZREMRANGEBYSCORE', settled_key, '-inf', oldest)
end

-- Appends a log entry with this many events. Each entry carries the count of all events so far: from it a reader
-- learns how many it has missed.
local function append(partition, events, ...)
  partition.offset, partition.events = partition.offset + 1, partition.events + events
  redis.call('XADD', partition.log_key, digits(partition.offset) .. '-0', 'n', digits(partition.events), ...)
end

local function save_head(partition)
  redis.call('HSET', partition.head_key, 'offset', digits(partition.offset), 'clock', digits(partition.clock),
    'events', digits(partition.events),
    'seal', struct.pack(HEAD_CACHE, partition.offset, partition.next_due, partition.open_breakers))
end
