#!lua name=shuiwei_stock
-- The ledger: the same rules as decide.ts, atomic (R1-R3, R14). One call decides a batch of commands for one
-- partition, moves the balances, remembers the ids and appends the event to the partition's log; the deduction is the
-- log entry. Nothing is written before the whole batch has been decided, but for a sweep of expired holds between two
-- commands and the forgetting of old days, each complete in itself. Held back on purpose: no knowledge of orders with
-- several SKUs (the caller aborts the other lines), no clock but the one given.

-- Codes shared with model.ts; append only.
local RECEIVE, CORRECT, MOVE, RESERVE, PAY, CANCEL, OUTBOUND, RETURN, ABORT, UNPAY, ACCEPT, SUSPEND, RESUME =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15
local SELLABLE, RESERVED, COMMITTED, SAFETY, PRESALE = 1, 2, 3, 4, 5
local ACCEPTED, ADMITTED_ANEW, CANCELLED_PAID, ID_REUSED, ID_OUTSIDE_WINDOW, SUPERSEDED, BREAKER_OPEN, UNKNOWN_SKU, UNKNOWN_LINE, LINE_MISMATCH,
  LINE_CANCELLED, NOT_PAID, ALREADY_OUTBOUND, HOLD_EXPIRED, INSUFFICIENT_SELLABLE, INSUFFICIENT_PRESALE, INSUFFICIENT_UNITS,
  LIMIT_EXCEEDED, ORDER_LINE = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18
local REPEATED = 128 -- added to the outcome's code when it is the first answer again
local POOL_CODES = 8 -- of the byte that names a line's pool, the part below is the pool; what is above are marks
local OF_ORDER = 8 -- the mark of a line of an order, which the order desk alone may move
local UNCOUNTED = 16 -- the mark of a line that has not been counted as demand: its order has not been accepted as a whole (R9)
local IS_UNCOUNTED = 128 -- added to a line's state in an answer when the line has that mark
local NONE, HELD, PAID, CANCELLED, EXPIRED, OUT, REFUNDED, UNPAID, CANCELLING = 0, 1, 2, 3, 4, 5, 6, 7, 8 -- REFUNDED: cancelled_paid

local DAY_MS = 86400000
local MAX_UNITS = 9007199254740991
local SWEEP_LIMIT = 1000 -- as in model.ts
local HOLD_MARGIN_DAYS = 4 -- as in model.ts
local WANTED_KEPT = 30 * DAY_MS -- for so long a partition that is away may miss that a breaker was closed
local STRIP_COUNT = 500 -- records: about a millisecond
local CHUNK = 2000 -- arguments of one Redis command; unpack fails near 8,000
local CELLS_AT_ONCE = 1000 -- five balances each, for the same reason

-- kind, outcome, state, pool and marks, attempt, expiresAtMs, units; the fingerprint's 8 bytes and the cell's name
-- follow. A line that holds nothing any more has, where its hold's end was, how many of its units the books had
-- nowhere, below zero.
local RECORD = '<BBBBI4dd'
local PRINT_AT, NAME_AT = 25, 33 -- where the fingerprint and the name begin, from 1
local NO_PRINT = '\0\0\0\0\0\0\0\0'
local BALANCES, CELL_BYTES = '<ddddd', 40
local SEAL = '<ddd' -- offset, when the next hold may be due, open breakers
local BASE32 = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
local ROOM = {} -- as long a string as a list may be, made when first needed
local CHARS = {} -- one-byte strings by code, each made when first needed

-- Numbers as text without an exponent: tostring() would round at 14 digits.
local function digits(n)
  return string.format('%.0f', n)
end

local function char(code)
  local text = CHARS[code]
  if not text then
    text = string.char(code)
    CHARS[code] = text
  end
  return text
end

-- A list with room for n values, which stand for nothing: filling it is several times as fast as growing one.
local function list_of(n)
  if not ROOM[1] then ROOM[1] = string.rep('\0', CHUNK) end
  return { string.byte(ROOM[1], 1, n) }
end

-- Calls a Redis command with a long list of n arguments, in chunks of whole pairs.
local function call_chunked(command, key, list, n)
  for first = 1, n, CHUNK do
    redis.call(command, key, unpack(list, first, math.min(first + CHUNK - 1, n)))
  end
end

-- The UTC day that a chain id carries: 9 base-32 digits after the channel's 2 characters.
local function day_of(id)
  local ms = 0
  for i = 3, 11 do
    ms = ms * 32 + (string.find(BASE32, string.sub(id, i, i), 1, true) - 1)
  end
  return math.floor(ms / DAY_MS)
end

local function has_mark(byte, mark)
  return math.floor(byte / mark) % 2 == 1
end

-- The byte of a line that the order desk has had its hand on, or has now.
local function owned_by(byte, new_byte)
  if has_mark(new_byte, OF_ORDER) and not has_mark(byte, OF_ORDER) then return byte + OF_ORDER end
  return byte
end

local function print_of(record)
  return string.sub(record, PRINT_AT, NAME_AT - 1)
end

-- include server-time.lua

-- Lets the book's clock move on to the time that a call goes by; what follows the bound in `given` is the outcome by
-- which new reservations are refused when clocks disagree. Returns whether that time is given by the caller.
local function set_clock(book, given)
  local now, agree, bound = time_of(given)
  if now > book.clock then book.clock = now end
  book.refused_by = not agree and tonumber(string.match(given, '(%d+)$')) or nil
  if agree then
    book.behind = led_ahead(book.clock, now, bound)
    local yesterday = math.floor((book.clock - book.behind) / DAY_MS) - 1
    if book.behind > 0 and book.forgotten and book.forgotten > yesterday then
      -- What it has forgotten ahead of time is lost; ids of today may be new all the same, or there would be no order
      -- until then.
      book.forgotten = yesterday
      redis.call('HSET', book.head_key, 'forgotten', yesterday)
    end
  end
  return tonumber(given) ~= nil
end

-- What holds, ids and breakers go by.
local function present(book)
  return book.clock - book.behind
end

-- When the first of the holds in Redis ends.
local function first_due(holds_key)
  return tonumber(redis.call('ZRANGE', holds_key, 0, 0, 'WITHSCORES')[2]) or math.huge
end

-- A partition's ledger while one call works on it. Balances are read when first needed and written by `flush`.
local function open_book(keys, lines_base, retention_days, size, format)
  local head = redis.call('HMGET', keys[1], 'offset', 'clock', 'forgotten', 'retention', 'events', 'seal')
  local offset, next_due, gates = tonumber(head[1]) or 0, nil, nil
  if head[6] then
    local sealed, due, open = struct.unpack(SEAL, head[6])
    -- Whoever has changed the partition without knowing of the seal has moved the offset on.
    if sealed == offset then next_due, gates = due, open end
  end
  return {
    head_key = keys[1], cells_key = keys[2], holds_key = keys[3], gates_key = keys[4], log_key = keys[5],
    lines_base = lines_base,
    format = format, -- the deployment's; in format 1 the previous release reads along
    moved = {}, -- what commands of the segment have moved otherwise than they say
    missing = {}, -- positions of commands whose lines lack units, and how many
    size = size, -- how many lines the call is likely to touch
    -- The longest there has been: what was taken under an old id must stay known.
    retention_days = math.max(retention_days, tonumber(head[4]) or 0),
    offset = offset,
    clock = tonumber(head[2]) or 0, -- the log's
    behind = 0, -- how far the present is behind it, when it has once been led astray
    refused_by = nil, -- clocks disagree: nothing ends by time, and new reservations get this outcome
    forgotten = tonumber(head[3]), -- buckets up to this day are gone
    events = tonumber(head[5]) or 0, -- accepted so far; a log that is older than the count begins it late
    next_due = next_due or first_due(keys[3]), -- no hold is due before; it may have ended otherwise by then
    gates = gates or redis.call('HLEN', keys[4]), -- breakers that are open
    names = {}, count = 0, index = false, -- cells: names; index by name is built only when a sweep needs it
    balances = {}, dirty = {}, created = {},
    records = {}, -- by id: what this call has written
    written = {}, -- by day: ids and records that are not yet in Redis, one after the other; of an id's records the last counts
    front = {}, -- how the last record began
    due = false, due_n = 0, due_at = 0, due_text = '', -- holds that are not yet in Redis: when they end, and their ids
    ended = {}, -- ids of holds that are still in Redis
    deducted = {}, -- when the lines had been deducted that count from now on, packed, in the order of their events; not yet in the log
  }
end

-- The balances of the cell at position c stand at 5 * c - 5 + pool; nil when there is no such cell.
local function load_cell(book, c, packed)
  if not packed then return end
  local all, base = book.balances, 5 * c - 5
  all[base + 1], all[base + 2], all[base + 3], all[base + 4], all[base + 5] = struct.unpack(BALANCES, packed)
end

local function load_cells(book, names)
  local count = #names
  book.names, book.count = names, count
  for first = 1, count, CHUNK do
    local last = math.min(first + CHUNK - 1, count)
    local packed = redis.call('HMGET', book.cells_key, unpack(names, first, last))
    local sound = 0
    for i = 1, #packed do
      if packed[i] and #packed[i] == CELL_BYTES then sound = sound + 1 end
    end
    if sound == count and count <= CELLS_AT_ONCE then
      -- All in one go: several times as fast. Bytes that are no cell's would put those after them out of place.
      book.balances = { struct.unpack('<' .. string.rep('ddddd', count), table.concat(packed)) }
      book.balances[5 * count + 1] = nil -- where the unpacking has ended
    else
      for i = first, last do load_cell(book, i, packed[i - first + 1]) end
    end
  end
end

local function cell_position(book, name)
  if not book.index then
    book.index = {}
    for i = 1, book.count do book.index[book.names[i]] = i end
  end
  local position = book.index[name]
  if not position then
    position = book.count + 1
    book.count, book.names[position], book.index[name] = position, name, position
    load_cell(book, position, redis.call('HGET', book.cells_key, name))
  end
  return position
end

-- Remembers a line or a command. `print` is 8 bytes, all else are numbers and the cell's name.
local function remember(book, id, day, kind, outcome, state, pool, attempt, expires, units, print, name)
  -- Most records of a batch begin alike, and packing is dear.
  local front = book.front
  if expires ~= front.expires or state ~= front.state or outcome ~= front.outcome or kind ~= front.kind or pool ~= front.pool
    or attempt ~= front.attempt or units ~= front.units then
    front = {
      kind = kind, outcome = outcome, state = state, pool = pool, attempt = attempt, expires = expires, units = units,
      packed = struct.pack(RECORD, kind, outcome, state, pool, attempt, expires, units),
    }
    book.front = front
  end
  local record, list = front.packed .. print .. name, book.written[day]
  if not list then
    list = list_of(2 * book.size)
    list.n = 0
    book.written[day] = list
  end
  local n = list.n
  list[n + 1], list[n + 2], list.n = id, record, n + 2
  book.records[id] = record
end

-- Takes a hold off the list of those that will end.
local function release(book, id)
  -- It may be one of this very batch.
  if book.records[id] then
    local due, n = book.due, book.due_n
    for i = 2, n, 2 do
      if due[i] == id then
        due[i - 1], due[i] = due[n - 1], due[n]
        book.due_n = n - 2
        return
      end
    end
  end
  book.ended[#book.ended + 1] = id
end

local function hold(book, id, expires)
  -- Most holds of a batch end at one time, and formatting it is dear.
  if expires ~= book.due_at then book.due_at, book.due_text = expires, digits(expires) end
  local due, n = book.due or list_of(2 * book.size), book.due_n
  due[n + 1], due[n + 2] = book.due_text, id
  book.due, book.due_n = due, n + 2
  if expires < book.next_due then book.next_due = expires end
end

-- A cell that exists has all five balances.
local function create(book, position)
  local all, base = book.balances, 5 * position - 5
  if all[base + 1] then return end
  for pool = 1, 5 do all[base + pool] = 0 end
  book.created[#book.created + 1] = position
end

-- Whether units from outside the cell fit into it.
local function fits(book, c, pool, amount)
  local all, base = book.balances, 5 * c - 5
  local present
  if pool == PRESALE then present = all[base + PRESALE] or 0
  elseif not all[base + SELLABLE] then present = 0
  else present = all[base + SELLABLE] + all[base + RESERVED] + all[base + COMMITTED] + all[base + SAFETY] end
  return amount <= MAX_UNITS - present
end

-- Moves units between two pools of a cell; 0 is the outside.
local function shift(book, c, from, to, amount)
  local all, base = book.balances, 5 * c - 5
  if from ~= 0 then all[base + from] = all[base + from] - amount end
  if to ~= 0 then all[base + to] = all[base + to] + amount end
  book.dirty[c] = true
end

-- Writes what has changed since the last flush; the caches stay valid.
local function flush(book)
  -- The field with an empty location lists the SKU's locations, so that one SKU can be read without a scan.
  for _, position in ipairs(book.created) do
    local name = book.names[position]
    local at = string.find(name, '\31', 1, true)
    local field, location = string.sub(name, 1, at), string.sub(name, at + 1)
    local listed = redis.call('HGET', book.cells_key, field)
    redis.call('HSET', book.cells_key, field, listed and (listed .. '\31' .. location) or location)
  end
  book.created = {}
  local all, names, dirty, pack = book.balances, book.names, book.dirty, struct.pack
  local cells, n = list_of(2 * book.count), 0
  for i = 1, book.count do
    if dirty[i] then
      local base = 5 * i - 5
      cells[n + 1], cells[n + 2] = names[i], pack(BALANCES, all[base + 1], all[base + 2], all[base + 3], all[base + 4], all[base + 5])
      n = n + 2
    end
  end
  call_chunked('HSET', book.cells_key, cells, n)
  for day, list in pairs(book.written) do call_chunked('HSET', book.lines_base .. day, list, list.n) end
  -- Removed first: a line may be aborted and reserved again in one batch.
  call_chunked('ZREM', book.holds_key, book.ended, #book.ended)
  call_chunked('ZADD', book.holds_key, book.due, book.due_n)
  book.dirty, book.written, book.ended, book.due_n = {}, {}, {}, 0
end

-- Appends an entry that brings so many events. Each carries the count of all so far, so that a reader knows how many
-- it has missed.
local function append(book, events, ...)
  book.offset, book.events = book.offset + 1, book.events + events
  redis.call('XADD', book.log_key, digits(book.offset) .. '-0', 'n', digits(book.events), ...)
end

local function save_head(book)
  redis.call('HSET', book.head_key, 'offset', digits(book.offset), 'clock', digits(book.clock), 'events', digits(book.events),
    'seal', struct.pack(SEAL, book.offset, book.next_due, book.gates))
end

-- When the next hold is really due: those in Redis, but for what this batch has ended, and those of this batch.
local function find_next_due(book)
  local ended = #book.ended
  local next_due
  if ended == 0 then
    next_due = first_due(book.holds_key)
  else
    local gone = {}
    for i = 1, ended do gone[book.ended[i]] = true end
    local first = redis.call('ZRANGE', book.holds_key, 0, ended, 'WITHSCORES')
    next_due = math.huge
    for i = 1, #first, 2 do
      if not gone[first[i]] then
        next_due = tonumber(first[i + 1])
        break
      end
    end
  end
  for i = 1, book.due_n, 2 do next_due = math.min(next_due, tonumber(book.due[i])) end
  book.next_due = next_due
  return next_due
end

-- Gives back holds that are due at present, the oldest first, SWEEP_LIMIT at most, as one log entry. A hold whose
-- line's record has been lost ends without giving anything back, for nobody knows what: an audit finds its units.
-- Returns how many holds ended.
local function sweep(book)
  flush(book)
  local due = redis.call('ZRANGEBYSCORE', book.holds_key, '-inf', digits(present(book)), 'LIMIT', 0, SWEEP_LIMIT)
  local ids, names, units, from_pools = {}, {}, {}, {}
  for _, id in ipairs(due) do
    local day = day_of(id)
    local record = book.records[id] or redis.call('HGET', book.lines_base .. day, id)
    book.ended[#book.ended + 1] = id
    if record then
      local i = #ids + 1
      local kind, outcome, _, byte, attempt, expires, held = struct.unpack(RECORD, record)
      local name, pool = string.sub(record, NAME_AT), byte % POOL_CODES
      local c = cell_position(book, name)
      if pool == PRESALE then shift(book, c, 0, PRESALE, held) else shift(book, c, RESERVED, SELLABLE, held) end
      remember(book, id, day, kind, outcome, EXPIRED, byte, attempt, expires, held, print_of(record), name)
      ids[i], names[i], units[i], from_pools[i] = id, name, held, pool
    end
  end
  flush(book)
  if #ids > 0 then
    append(book, #ids, 't', digits(book.clock), 'x', cmsgpack.pack({ ids, names, units, from_pools }))
    save_head(book)
  end
  find_next_due(book)
  return #due
end

-- Whether a line in this state holds units.
local function holds_units(state)
  return state == HELD or state == PAID or state == CANCELLING
end

-- Whether a record of a forgotten day is still known: that of a line is for as long as it holds units, or lacks some,
-- and afterwards until as many days have passed as any id is known.
local function is_known(book, record)
  local kind, outcome, state, _, _, expires = struct.unpack(RECORD, record)
  if kind ~= RESERVE or outcome ~= ACCEPTED or state == NONE then return false end
  return holds_units(state) or expires < 0 or math.floor(expires / DAY_MS) > book.forgotten
end

-- Takes what is not known any more out of the forgotten days, STRIP_COUNT records a call. What was done is in the
-- head: the day under work, how far it has come, up to which forgotten day all is done.
local function strip(book)
  local head = redis.call('HMGET', book.head_key, 'strip-done', 'strip-day', 'strip-cursor')
  if not book.forgotten or (tonumber(head[1]) or -1) >= book.forgotten then return end
  local days_key, last = book.lines_base .. 'old', tonumber(head[2])
  local days = redis.call('SMEMBERS', days_key)
  local day
  for i = 1, #days do
    local each = tonumber(days[i])
    if (not last or each >= last) and (not day or each < day) then day = each end
  end
  if not day then
    redis.call('HSET', book.head_key, 'strip-done', book.forgotten)
    redis.call('HDEL', book.head_key, 'strip-day', 'strip-cursor')
    return
  end
  local key = book.lines_base .. day
  local page = redis.call('HSCAN', key, day == last and head[3] or '0', 'COUNT', STRIP_COUNT)
  local gone = {}
  for i = 1, #page[2], 2 do
    if not is_known(book, page[2][i + 1]) then gone[#gone + 1] = page[2][i] end
  end
  call_chunked('HDEL', key, gone, #gone)
  if page[1] ~= '0' then
    redis.call('HSET', book.head_key, 'strip-day', day, 'strip-cursor', page[1])
  else
    if redis.call('EXISTS', key) == 0 then redis.call('SREM', days_key, day) end
    redis.call('HSET', book.head_key, 'strip-day', day + 1, 'strip-cursor', '0')
  end
end

-- Forgets the days that no new id may name; not while holds are due. What their lines hold stays: see is_known and
-- strip.
local function forget(book)
  local last = math.floor(present(book) / DAY_MS) - book.retention_days - HOLD_MARGIN_DAYS - 1
  book.forgotten = book.forgotten or last - 1
  if book.forgotten >= last or book.refused_by or present(book) >= book.next_due then return end
  for day = book.forgotten + 1, last do
    if book.format == 1 then
      -- The previous release, which reads along, drops the day as a whole.
      redis.call('UNLINK', book.lines_base .. day)
    elseif redis.call('EXISTS', book.lines_base .. day) == 1 or book.written[day] then
      redis.call('SADD', book.lines_base .. 'old', day)
    end
  end
  book.forgotten = last
  redis.call('HSET', book.head_key, 'forgotten', last, 'retention', book.retention_days)
end

-- Scopes that refuse new orders now, or nil when none does.
local function closed_scopes(book)
  if book.gates == 0 then return nil end
  local fields = redis.call('HGETALL', book.gates_key)
  local scopes = {}
  for i = 1, #fields, 2 do scopes[fields[i]] = tonumber(cjson.decode(fields[i + 1]).untilMs) end
  return scopes
end

local function is_closed(scopes, clock, name)
  local at = string.find(name, '\31', 1, true)
  for _, key in ipairs({ 'shop', 'location:' .. string.sub(name, at + 1), 'sku:' .. string.sub(name, 1, at - 1) }) do
    local until_ms = scopes[key]
    if until_ms and (until_ms == 0 or until_ms > clock) then return true end
  end
  return false
end

-- A command that brings its own id, which is known. Returns the outcome, the line's state with its mark, whether the
-- command may be decided anew, and how many units of the line are nowhere.
local function decide_again(book, kind, id, day, new_byte, attempt, print, record)
  local was_kind, was_outcome, state, byte, was_attempt, expires, held = struct.unpack(RECORD, record)
  local was_print = print_of(record)
  if was_print ~= print and (was_print ~= NO_PRINT or kind ~= RESERVE) then return ID_REUSED, NONE, false end
  if has_mark(byte, OF_ORDER) and not has_mark(new_byte, OF_ORDER) and book.format > 1 then
    return ORDER_LINE, state ~= NONE and has_mark(byte, UNCOUNTED) and state + IS_UNCOUNTED or state, false
  end
  if was_kind == RESERVE and was_outcome == ACCEPTED and state == NONE then
    -- Reserved and given up again: only a later try may reserve.
    if attempt <= was_attempt then return SUPERSEDED, NONE, false end
    return ACCEPTED, NONE, true
  end
  local marked = has_mark(byte, UNCOUNTED) and state + IS_UNCOUNTED or state
  local owned = kind == RESERVE and owned_by(byte, new_byte) or byte
  if attempt > was_attempt or owned ~= byte then
    remember(book, id, day, was_kind, was_outcome, state, owned, math.max(attempt, was_attempt), expires, held, was_print, string.sub(record, NAME_AT))
  end
  return was_outcome + REPEATED, marked, false, math.max(0, -expires)
end

-- Goods that come, are counted anew or change their place. Returns the outcome.
local function decide_goods(book, kind, c, pool, amount, target)
  local all, base = book.balances, 5 * c - 5
  if kind == CORRECT and pool == RESERVED then
    return all[base + SELLABLE] and INSUFFICIENT_UNITS or UNKNOWN_SKU -- they belong to held lines
  elseif kind == RECEIVE or kind == RETURN or (kind == CORRECT and amount > 0) then
    if not fits(book, c, pool, amount) then return LIMIT_EXCEEDED end
    create(book, c)
    shift(book, c, 0, pool, amount)
  elseif kind == CORRECT then
    local source = all[base + pool]
    if not source then return UNKNOWN_SKU end
    if source < -amount then return INSUFFICIENT_UNITS end
    shift(book, c, pool, 0, -amount)
  elseif kind == MOVE then
    local from, to = math.floor(pool / 8), pool % 8
    local source = all[base + from]
    if not source then return UNKNOWN_SKU end
    if source < amount then return INSUFFICIENT_UNITS end
    if target ~= c and not fits(book, target, to, amount) then return LIMIT_EXCEEDED end
    create(book, target)
    shift(book, c, from, 0, amount)
    shift(book, target, 0, to, amount)
  end
  return ACCEPTED
end

-- An ABORT of what is not held. There is nothing to undo; but a reservation of this try or an older one that is still
-- on its way must not be taken any more.
local function abort_nothing(book, id, day, byte, amount, tried, record, name, is_in_window)
  if not record then
    if is_in_window then remember(book, id, day, RESERVE, ACCEPTED, NONE, byte, tried, 0, amount, NO_PRINT, name) end
    return
  end
  local was_kind, was_outcome, _, was_code, attempt, expires, held = struct.unpack(RECORD, record)
  if was_kind == RESERVE and was_outcome == ACCEPTED and tried > attempt then
    remember(book, id, day, was_kind, was_outcome, NONE, was_code, tried, expires, held, print_of(record), string.sub(record, NAME_AT))
  end
end

-- Goods that have left are a fact: the units are taken from where they are, then from what nobody has been promised.
-- Returns how many are nowhere.
local function take_out(book, i, c, pool, held, state)
  local all, base = book.balances, 5 * c - 5
  local is_paid = state == PAID or state == CANCELLING
  local own = pool == PRESALE and SELLABLE or state == HELD and RESERVED or is_paid and COMMITTED or SELLABLE
  local first = math.min(held, all[base + own] or 0)
  if first > 0 then shift(book, c, own, 0, first) end
  if first == held and (pool == PRESALE or is_paid) then return 0 end
  local second = math.min(held - first, own ~= SELLABLE and all[base + SELLABLE] or 0)
  if second > 0 then shift(book, c, SELLABLE, 0, second) end
  local move = { i - 1, held - first - second }
  if first > 0 then move[3], move[4], move[5] = own, 0, first end
  if second > 0 then
    local n = #move
    move[n + 1], move[n + 2], move[n + 3] = SELLABLE, 0, second
  end
  book.moved[#book.moved + 1] = move
  return held - first - second
end

-- A cancelled line's committed units go back to be sold, as many as there are. Returns how many are not.
local function give_back(book, i, c, held)
  local back = math.min(held, book.balances[5 * c - 5 + COMMITTED] or 0)
  if back > 0 then shift(book, c, COMMITTED, SELLABLE, back) end
  if back < held then
    book.moved[#book.moved + 1] = back > 0 and { i - 1, held - back, COMMITTED, SELLABLE, back } or { i - 1, held }
  end
  return held - back
end

-- What command i does to a line that stands in a state. Moves its units.
-- Returns the outcome, the line's state after it, the try that has the line then, and of a line that has ended now
-- how many of its units are nowhere.
local function step_line(book, i, kind, c, pool, held, state, attempt, tried, is_desk)
  local all, base = book.balances, 5 * c - 5
  if kind == ABORT then
    if state ~= HELD or attempt > tried then return SUPERSEDED, state, attempt end
    if pool == PRESALE then shift(book, c, 0, PRESALE, held) else shift(book, c, RESERVED, SELLABLE, held) end
    return ACCEPTED, NONE, tried
  elseif kind == PAY then
    -- A later payment takes the line over, so that an earlier one can no longer undo it, nor do again what has been
    -- undone.
    local newest = math.max(attempt, tried)
    if state == HELD then
      if pool == SELLABLE then shift(book, c, RESERVED, COMMITTED, held) end
      return ACCEPTED, PAID, newest
    elseif state == PAID or state == CANCELLING or state == OUT then
      return ACCEPTED + REPEATED, state, newest
    elseif state == CANCELLED or state == REFUNDED then
      return LINE_CANCELLED, state, attempt
    elseif state == UNPAID and newest == attempt then
      return HOLD_EXPIRED + REPEATED, state, attempt
    elseif all[base + pool] < held then
      -- A numbered try that is refused is refused for good: it may be on its way twice, and units come back.
      if tried > 1 then return HOLD_EXPIRED, UNPAID, newest end
      return HOLD_EXPIRED, state, attempt
    end
    if pool == PRESALE then shift(book, c, PRESALE, 0, held) else shift(book, c, SELLABLE, COMMITTED, held) end
    return ADMITTED_ANEW, PAID, newest
  elseif kind == CANCEL then
    if state == HELD then
      if pool == PRESALE then shift(book, c, 0, PRESALE, held) else shift(book, c, RESERVED, SELLABLE, held) end
      return ACCEPTED, CANCELLED, attempt
    elseif is_desk and (state == PAID or state == CANCELLING and tried < attempt) then
      return SUPERSEDED, state, attempt -- somebody may have its goods: they are asked for first, by the newest try
    elseif state == PAID or state == CANCELLING then
      local missing = 0
      if pool == PRESALE then
        shift(book, c, 0, PRESALE, held)
      elseif book.format == 1 and all[base + COMMITTED] < held then
        return INSUFFICIENT_UNITS, state, attempt
      else
        missing = give_back(book, i, c, held)
      end
      return CANCELLED_PAID, REFUNDED, attempt, missing
    elseif state == OUT then
      return ALREADY_OUTBOUND, state, attempt
    elseif state == REFUNDED then
      return CANCELLED_PAID + REPEATED, state, attempt
    end
    -- Cancelled before, or its hold is lost: the units are back already, but a late payment must no longer take them
    -- anew.
    return ACCEPTED + REPEATED, CANCELLED, attempt
  elseif kind == UNPAY then
    if state ~= PAID or attempt > tried then return SUPERSEDED, state, attempt end
    if pool == SELLABLE and all[base + COMMITTED] < held then return INSUFFICIENT_UNITS, state, attempt end
    if pool == PRESALE then shift(book, c, 0, PRESALE, held) else shift(book, c, COMMITTED, SELLABLE, held) end
    return ACCEPTED, UNPAID, tried
  elseif kind == SUSPEND then
    -- An older try that arrives late must not stop a line that has gone on.
    if (state == PAID or state == CANCELLING) and tried < attempt then return SUPERSEDED, state, attempt end
    if state == PAID then return ACCEPTED, CANCELLING, tried end
    if state == CANCELLING then return ACCEPTED + REPEATED, state, tried end
    if state == OUT then return ALREADY_OUTBOUND, state, attempt end
    return (state == REFUNDED and CANCELLED_PAID or ACCEPTED) + REPEATED, state, attempt
  elseif kind == RESUME then
    if state == CANCELLING then
      if tried < attempt then return SUPERSEDED, state, attempt end
      return ACCEPTED, PAID, tried
    end
    if state == PAID then return ACCEPTED + REPEATED, state, math.max(attempt, tried) end
    if state == OUT then return ALREADY_OUTBOUND, state, attempt end
    if state == CANCELLED or state == REFUNDED then return LINE_CANCELLED, state, attempt end
    return ACCEPTED + REPEATED, state, attempt
  end
  -- OUTBOUND
  if state == OUT then return ACCEPTED + REPEATED, state, attempt end
  if book.format > 1 then return ACCEPTED, OUT, attempt, take_out(book, i, c, pool, held, state) end
  if state == CANCELLED or state == REFUNDED then return LINE_CANCELLED, state, attempt end
  if state == EXPIRED or state == UNPAID then return HOLD_EXPIRED, state, attempt end
  if state == HELD then return NOT_PAID, state, attempt end
  if pool == PRESALE and all[base + SELLABLE] < held then return INSUFFICIENT_SELLABLE, state, attempt end
  if pool == SELLABLE and all[base + COMMITTED] < held then return INSUFFICIENT_UNITS, state, attempt end
  shift(book, c, pool == PRESALE and SELLABLE or COMMITTED, 0, held)
  return ACCEPTED, OUT, attempt
end

-- An order that the line belongs to has been accepted as a whole: from now on the line counts as demand, at the
-- instant of its deduction, which is as long before the hold's end as the hold was. Where the line stands meanwhile
-- makes no difference. Returns the outcome.
local function accept_line(book, byte, expires, hold_ms)
  if not has_mark(byte, UNCOUNTED) then return ACCEPTED + REPEATED end
  local deducted = book.deducted
  -- Of a line that has had units missing the hold's end is not known any more.
  local instant = expires <= 0 and book.clock or math.min(book.clock, expires - hold_ms)
  deducted[#deducted + 1] = struct.pack('<d', math.max(0, instant))
  return ACCEPTED
end

-- Command i, about a line reserved before. Returns the outcome, the line's state after it with its mark, whether the
-- command has changed anything, and how many units of the line are nowhere.
local function decide_line(book, i, kind, id, day, c, new_byte, amount, tried, hold_ms, record, name, is_in_window)
  local was_kind, was_outcome, was_state, byte, attempt, expires, held
  if record then was_kind, was_outcome, was_state, byte, attempt, expires, held = struct.unpack(RECORD, record) end
  if not record or was_kind ~= RESERVE or was_outcome ~= ACCEPTED or was_state == NONE then
    if kind ~= ABORT then return UNKNOWN_LINE, NONE, false end
    abort_nothing(book, id, day, new_byte, amount, tried, record, name, is_in_window)
    return ACCEPTED + REPEATED, NONE, false, 0
  end
  local mark, pool = has_mark(byte, UNCOUNTED) and IS_UNCOUNTED or 0, byte % POOL_CODES
  local is_desk = has_mark(new_byte, OF_ORDER)
  -- A process that has not yet seen the deployment's format raised marks nothing as the desk's.
  if has_mark(byte, OF_ORDER) and not is_desk and book.format > 1 then return ORDER_LINE, was_state + mark, false, 0 end
  if held ~= amount or new_byte % POOL_CODES ~= pool or string.sub(record, NAME_AT) ~= name then return LINE_MISMATCH, was_state + mark, false, 0 end
  if kind == ACCEPT then
    local outcome = accept_line(book, byte, expires, hold_ms)
    if outcome ~= ACCEPTED then return outcome, was_state, false, 0 end
    remember(book, id, day, was_kind, was_outcome, was_state, byte - UNCOUNTED, attempt, expires, held, print_of(record), name)
    return outcome, was_state, true, 0
  end
  local outcome, state, newest, missing = step_line(book, i, kind, c, pool, held, was_state, attempt, tried, is_desk)
  if missing then expires = missing > 0 and -missing or math.max(0, expires) end
  -- Of a day that is forgotten, it is known for some time from its end on.
  if expires >= 0 and book.format > 1 and day <= (book.forgotten or -1) and holds_units(was_state) and not holds_units(state) then
    expires = book.clock
  end
  if state ~= was_state or newest ~= attempt then
    remember(book, id, day, was_kind, was_outcome, state, owned_by(byte, new_byte), newest, expires, held, print_of(record), name)
  end
  if was_state == HELD and state ~= HELD then release(book, id) end
  local is_told = (state == OUT or state == REFUNDED) and outcome % REPEATED <= CANCELLED_PAID
  return outcome, state == NONE and NONE or state + mark, state ~= was_state, is_told and expires < 0 and -expires or 0
end

-- stock_apply: decides a batch of commands in order.
-- KEYS: head, cells, holds, gates, log, then the buckets of the days that the batch's ids carry
-- ARGV: 1 clock: see time_of (a caller's own moves on with commands' own times, too)
--       2 retention of ids in days
--       3 base name of the day buckets
--       4 the batch: msgpack [2, kinds, cell names, cells, units, ids, pools, days, day numbers, attempts, holds, times, target cells,
--         details]; kinds and pools are one byte a command, a reservation's with marks; days may be 0 for "all of the first", attempts, times, target cells and
--         details 0 for "none", holds may be one number for all
--       5 fingerprints, 8 bytes a command; not logged, for nobody but the ledger asks for them
--       6 the deployment's format
-- Returns: outcomes (one byte a command, +128 when repeated), states (one byte a command, +128 when the line has not
-- been counted as demand), last
--          offset of the log, and for each command whose line lacks units its position and how many
local function apply(keys, args)
  local batch, prints = cmsgpack.unpack(args[4]), args[5]
  if batch[1] ~= 2 then return redis.error_reply('BATCH version ' .. tostring(batch[1]) .. ' is not known') end
  local kinds, names, cell, units, ids, pool_bytes = batch[2], batch[3], batch[4], batch[5], batch[6], batch[7]
  local days, day_numbers, attempts, holds, times, targets = batch[8], batch[9], batch[10], batch[11], batch[12], batch[13]
  if days == 0 then days = nil end
  if attempts == 0 then attempts = nil end
  if times == 0 then times = nil end
  if targets == 0 then targets = nil end
  local hold_all = type(holds) == 'number' and holds or nil
  local n = #ids
  local sub = string.sub
  local kind_codes, pool_codes = { string.byte(kinds, 1, n) }, { string.byte(pool_bytes, 1, n) }

  local book = open_book(keys, args[3], tonumber(args[2]), n, tonumber(args[6]))
  local given = set_clock(book, args[1])
  load_cells(book, names)

  -- Records of all ids as they were before the call, one read a bucket.
  local found = {}
  if not days then
    found = redis.call('HMGET', keys[6], unpack(ids))
  else
    for d = 1, #day_numbers do
      local wanted, at = {}, {}
      for i = 1, n do
        if days[i] == d then wanted[#wanted + 1], at[#at + 1] = ids[i], i end
      end
      local some = redis.call('HMGET', keys[5 + d], unpack(wanted))
      for k = 1, #at do found[at[k]] = some[k] end
    end
  end
  local records = book.records

  local scopes = closed_scopes(book)
  local outcomes, states = list_of(n), list_of(n)
  local segment, segment_clock = 1, book.clock -- first command not yet in the log, and the clock before it
  local fresh, accepted = false, 0 -- whether the segment has something to log, and how many events it brings
  local tomorrow, first_day, last_day = 0, 0, 0 -- when the day ends; days that a new id may carry

  local function log_segment(last)
    if fresh then
      local fields = { 't', digits(segment_clock), 'b', args[4], 'o', table.concat(outcomes, '', segment, last) }
      if segment > 1 then fields[#fields + 1] = 's'; fields[#fields + 1] = segment - 1 end
      if given then fields[#fields + 1] = 'g'; fields[#fields + 1] = 1 end
      if book.deducted[1] then
        fields[#fields + 1] = 'd'; fields[#fields + 1] = table.concat(book.deducted)
        book.deducted = {}
      end
      if book.moved[1] then
        for m = 1, #book.moved do
          if #book.moved[m] > 5 then accepted = accepted + 1 end -- an event each for its two pools
        end
        fields[#fields + 1] = 'm'; fields[#fields + 1] = cmsgpack.pack(book.moved)
        book.moved = {}
      end
      append(book, accepted, unpack(fields))
    end
    segment, segment_clock, fresh, accepted = last + 1, book.clock, false, 0
  end

  for i = 1, n do
    local at = given and times and times[i] or 0
    if at > book.clock then book.clock = at end
    if not book.refused_by and present(book) >= book.next_due and present(book) >= find_next_due(book) then
      log_segment(i - 1)
      sweep(book)
    end
    if present(book) >= tomorrow then
      local today = math.floor(present(book) / DAY_MS)
      forget(book)
      -- A longer retention does not bring back what is forgotten.
      first_day, last_day = math.max(today - book.retention_days, book.forgotten + 1), today + 1
      -- What was read of these days, or done to them by this batch, is forgotten, too.
      local dropped = {} -- an id may be there twice
      for k = 1, n do
        local day = day_numbers[days and days[k] or 1]
        if day <= book.forgotten then
          local record = records[ids[k]] or found[k]
          if book.format == 1 then
            found[k], records[ids[k]], book.written[day] = false, nil, nil
          elseif dropped[ids[k]] or record and not is_known(book, record) then
            found[k], records[ids[k]], dropped[ids[k]] = false, nil, true
          end
        end
      end
      -- While holds are still due the forgetting waits, and is tried again at the next command.
      if book.refused_by or present(book) < book.next_due then tomorrow = (today + 1) * DAY_MS end
    end

    local kind, id, c, amount = kind_codes[i], ids[i], cell[i], units[i]
    local byte, day = pool_codes[i], day_numbers[days and days[i] or 1]
    local pool = kind == MOVE and byte or byte % POOL_CODES
    local record = records[id] or found[i]
    local attempt = attempts and attempts[i] or 1
    local outcome, state, missing = ACCEPTED, NONE, nil

    if kind >= PAY and kind ~= RETURN and (kind <= ABORT or kind >= UNPAY) then
      local changed
      outcome, state, changed, missing = decide_line(book, i, kind, id, day, c, byte, amount, attempt, hold_all or holds[i], record, names[c],
        day >= first_day and day <= last_day)
      fresh = fresh or changed
    else
      local print, anew = sub(prints, 8 * i - 7, 8 * i), true
      if record then outcome, state, anew, missing = decide_again(book, kind, id, day, byte, attempt, print, record) end
      if not anew then
        -- Decided before.
      elseif kind == RESERVE and book.refused_by then
        outcome = book.refused_by
      elseif day < first_day or day > last_day then
        outcome = ID_OUTSIDE_WINDOW
      elseif kind ~= RESERVE then
        local target = targets and targets[i] or 0
        outcome = decide_goods(book, kind, c, pool, amount, target ~= 0 and target or c)
        remember(book, id, day, kind, outcome, NONE, SELLABLE, attempt, 0, kind == CORRECT and 0 or amount, print, names[c])
        fresh = true
      elseif scopes and is_closed(scopes, present(book), names[c]) then
        outcome = BREAKER_OPEN
      else
        local all, base = book.balances, 5 * c - 5
        local source, expires = all[base + pool], present(book) + (hold_all or holds[i])
        if not source then
          outcome = UNKNOWN_SKU
        elseif source < amount then
          outcome = pool == PRESALE and INSUFFICIENT_PRESALE or INSUFFICIENT_SELLABLE
        else
          all[base + pool] = source - amount
          if pool == SELLABLE then all[base + RESERVED] = all[base + RESERVED] + amount end
          book.dirty[c] = true
          state = HELD
          hold(book, id, expires)
        end
        if state ~= HELD and has_mark(byte, UNCOUNTED) then byte = byte - UNCOUNTED end
        remember(book, id, day, RESERVE, outcome, state, byte, attempt, expires, amount, print, names[c])
        if has_mark(byte, UNCOUNTED) then state = HELD + IS_UNCOUNTED end
        fresh = true
      end
    end
    if missing and missing > 0 then
      local told = book.missing
      told[#told + 1], told[#told + 2] = digits(i), digits(missing)
    end
    if outcome <= CANCELLED_PAID then accepted = accepted + 1 end
    outcomes[i], states[i] = char(outcome), char(state)
  end

  flush(book)
  log_segment(n)
  save_head(book)
  return { table.concat(outcomes), table.concat(states), digits(book.offset), book.missing }
end

-- The time that the log's last entry tells. The clock may be further: what is repeated or refused moves it and leaves
-- no entry.
local function last_told(book)
  local entry = redis.call('XREVRANGE', book.log_key, '+', '-', 'COUNT', 1)[1]
  local fields = entry and entry[2] or {}
  for i = 1, #fields, 2 do
    if fields[i] == 't' then return tonumber(fields[i + 1]) or 0 end
  end
  return 0
end

-- stock_tick: lets time pass in a partition that may have no commands: gives back due holds, closes breakers whose
-- time is over, and marks in the log that the clock has crossed a multiple of the heartbeat since the last entry, so
-- that windows end.
-- KEYS: head, cells, holds, gates, log
-- ARGV: 1 clock (see time_of), 2 retention in days, 3 base name of the day buckets, 4 heartbeat in ms, 5 the
-- deployment's format
-- Returns: holds given back, last offset, clock
local function tick(keys, args)
  local book = open_book(keys, args[3], tonumber(args[2]), SWEEP_LIMIT, tonumber(args[5]))
  set_clock(book, args[1])
  local swept, logged = 0, book.offset
  if not book.refused_by and present(book) >= book.next_due and present(book) >= find_next_due(book) then swept = sweep(book) end
  local fields = redis.call('HGETALL', book.gates_key)
  for i = 1, #fields, 2 do
    local gate = cjson.decode(fields[i + 1])
    -- While clocks disagree the present is not known, and the log's clock may be far ahead of it.
    if not book.refused_by and gate.untilMs > 0 and gate.untilMs <= present(book) then
      redis.call('HDEL', book.gates_key, fields[i])
      book.gates = book.gates - 1
      append(book, 0, 't', digits(book.clock), 'c', fields[i], 'j', cjson.encode({ action = 'close', actor = 'engine', reason = 'its time is over' }))
    end
  end
  local heartbeat = tonumber(args[4])
  if book.offset == logged and math.floor(book.clock / heartbeat) > math.floor(last_told(book) / heartbeat) then
    append(book, 0, 't', digits(book.clock))
  end
  if book.offset > logged then
    forget(book)
    save_head(book)
  end
  if book.format > 1 then strip(book) end
  return { swept, digits(book.offset), digits(book.clock) }
end

-- stock_gate: opens or closes a breaker in one partition.
-- KEYS: head, cells, holds, gates, log
-- ARGV: 1 clock (see time_of), 2 scope key, 3 'open' or 'close', 4 JSON {actor, reason, forMs} (forMs 0: until closed
-- by hand); and, of a breaker
--       that is kept for the whole deployment (stock_want): 5 its version, 6 since when, 7 until when
-- Returns: the last offset, or nil when there was nothing to do: nothing to close, the version or a newer one
-- applied, or its time over
local function gate(keys, args)
  local book = open_book(keys, '', 0, 0, 1)
  set_clock(book, args[1])
  local detail = cjson.decode(args[4])
  local version, opens = tonumber(args[5]), args[3] == 'open'
  if version then
    if version <= (tonumber(redis.call('HGET', book.head_key, 'gate:' .. args[2])) or 0) then return false end
    redis.call('HSET', book.head_key, 'gate:' .. args[2], digits(version))
    opens = opens and (args[7] == '0' or tonumber(args[7]) > present(book))
  end
  if opens then
    local until_ms = detail.forMs > 0 and present(book) + detail.forMs or 0
    local since_ms = present(book)
    if version then until_ms, since_ms = tonumber(args[7]), tonumber(args[6]) end
    -- Written by hand: cjson would give times an exponent.
    local behalf = detail.onBehalfOf and ',"onBehalfOf":' .. cjson.encode(detail.onBehalfOf) or ''
    if version then behalf = behalf .. ',"version":' .. digits(version) end
    local text = string.format('{"untilMs":%s,"sinceMs":%s,"actor":%s,"reason":%s%s}', digits(until_ms), digits(since_ms),
      cjson.encode(detail.actor), cjson.encode(detail.reason), behalf)
    book.gates = book.gates + redis.call('HSET', book.gates_key, args[2], text)
  elseif redis.call('HDEL', book.gates_key, args[2]) == 0 then
    return false
  else
    book.gates = book.gates - 1
  end
  append(book, 0, 't', digits(book.clock), 'c', args[2], 'j', cjson.encode({ action = opens and 'open' or 'close', actor = detail.actor, onBehalfOf = detail.onBehalfOf, reason = detail.reason }))
  save_head(book)
  return digits(book.offset)
end

-- stock_want: notes what a breaker is to be, before any partition is told. A version is the time, or one more than
-- the last: it also grows when this server has lost the last ones.
-- KEYS: what each breaker is to be
-- ARGV: as stock_gate's 1 to 4
-- Returns: JSON {action, version, sinceMs, untilMs, actor, onBehalfOf, reason}
local function want(keys, args)
  local now = time_of(args[1])
  local detail, version = cjson.decode(args[4]), now
  local all = redis.call('HGETALL', keys[1])
  for i = 1, #all, 2 do
    local known = cjson.decode(all[i + 1])
    version = math.max(version, known.version + 1)
    -- Partitions that were away meanwhile have been told long since, or have closed it by themselves.
    local ended = known.action == 'close' and known.sinceMs or known.untilMs
    if ended > 0 and ended + WANTED_KEPT < now then redis.call('HDEL', keys[1], all[i]) end
  end
  local behalf = detail.onBehalfOf and ',"onBehalfOf":' .. cjson.encode(detail.onBehalfOf) or ''
  local text = string.format('{"action":%s,"version":%s,"sinceMs":%s,"untilMs":%s,"actor":%s,"reason":%s%s}', cjson.encode(args[3]), digits(version),
    digits(now), digits(detail.forMs > 0 and now + detail.forMs or 0), cjson.encode(detail.actor), cjson.encode(detail.reason), behalf)
  redis.call('HSET', keys[1], args[2], text)
  return text
end

-- When Redis is full nothing new is begun, and time goes on all the same: holds end, windows end, breakers open and
-- close. What these write is little, and trimming needs it. stock_go_on is stock_apply for commands that go on with
-- what has begun: payments, cancellations, parcels.
redis.register_function('stock_apply', apply)
redis.register_function { function_name = 'stock_go_on', callback = apply, flags = { 'allow-oom' } }
redis.register_function { function_name = 'stock_tick', callback = tick, flags = { 'allow-oom' } }
redis.register_function { function_name = 'stock_gate', callback = gate, flags = { 'allow-oom' } }
redis.register_function { function_name = 'stock_want', callback = want, flags = { 'allow-oom' } }
