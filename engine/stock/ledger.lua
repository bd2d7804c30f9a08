#!lua name=shuiwei_stock
-- The ledger: the same rules as decide.ts, atomic (R1-R3, R14). One call decides a batch of commands for one partition, moves the
-- balances, remembers the ids and appends the event to the partition's log; the deduction is the log entry. Nothing is written
-- before the whole batch has been decided, but for a sweep of expired holds between two commands and the forgetting of old days, each
-- complete in itself.
-- Held back on purpose: no knowledge of orders with several SKUs (the caller aborts the other lines), no clock but the one given.

-- Codes shared with model.ts; append only.
local RECEIVE, CORRECT, MOVE, RESERVE, PAY, CANCEL, OUTBOUND, RETURN, ABORT, UNPAY = 1, 2, 3, 4, 5, 6, 7, 8, 9, 12
local SELLABLE, RESERVED, COMMITTED, SAFETY, PRESALE = 1, 2, 3, 4, 5
local ACCEPTED, ADMITTED_ANEW, CANCELLED_PAID, ID_REUSED, ID_OUTSIDE_WINDOW, SUPERSEDED, BREAKER_OPEN, UNKNOWN_SKU, UNKNOWN_LINE, LINE_MISMATCH,
  LINE_CANCELLED, NOT_PAID, ALREADY_OUTBOUND, HOLD_EXPIRED, INSUFFICIENT_SELLABLE, INSUFFICIENT_PRESALE, INSUFFICIENT_UNITS,
  LIMIT_EXCEEDED = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17
local REPEATED = 128 -- added to the outcome's code when it is the first answer again
local NONE, HELD, PAID, CANCELLED, EXPIRED, OUT, REFUNDED, UNPAID = 0, 1, 2, 3, 4, 5, 6, 7 -- REFUNDED: cancelled_paid

local DAY_MS = 86400000
local MAX_UNITS = 9007199254740991
local SWEEP_LIMIT = 1000 -- as in model.ts
local HOLD_MARGIN_DAYS = 4 -- as in model.ts
local CHUNK = 2000 -- arguments of one Redis command; unpack fails near 8,000

-- kind, outcome, state, pool, attempt, expiresAtMs, units, fingerprint; the cell's name follows.
local RECORD = '<BBBBI4ddd'
local BALANCES = '<ddddd'
local BASE32 = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
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

-- Calls a Redis command with a long list of arguments, in chunks of whole pairs.
local function call_chunked(command, key, list)
  local n = #list
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

local function server_now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- A partition's ledger while one call works on it. Balances are read when first needed and written by `flush`.
local function open_book(keys, lines_base, retention_days)
  local head = redis.call('HMGET', keys[1], 'offset', 'clock', 'forgotten', 'retention', 'events')
  local first = redis.call('ZRANGE', keys[3], 0, 0, 'WITHSCORES')
  return {
    head_key = keys[1], cells_key = keys[2], holds_key = keys[3], gates_key = keys[4], log_key = keys[5],
    lines_base = lines_base,
    -- The longest there has been: what was taken under an old id must stay known.
    retention_days = math.max(retention_days, tonumber(head[4]) or 0),
    offset = tonumber(head[1]) or 0,
    clock = tonumber(head[2]) or 0,
    forgotten = tonumber(head[3]), -- buckets up to this day are gone
    events = tonumber(head[5]) or 0, -- accepted so far; a log that is older than the count begins it late
    next_due = tonumber(first[2]) or math.huge, -- no hold is due before; it may have ended otherwise by then
    names = {}, count = 0, index = false, -- cells: names; index by name is built only when a sweep needs it
    pools = { {}, {}, {}, {}, {} }, dirty = {}, created = {},
    records = {}, written = {}, -- records by id; those not yet in Redis by day and id
    zadd = {}, zrem = {},
  }
end

local function load_cell(book, position, packed)
  local pools = book.pools
  if packed then
    pools[1][position], pools[2][position], pools[3][position], pools[4][position], pools[5][position] =
      struct.unpack(BALANCES, packed)
  end
end

local function load_cells(book, names)
  book.names, book.count = names, #names
  for first = 1, #names, CHUNK do
    local last = math.min(first + CHUNK - 1, #names)
    local packed = redis.call('HMGET', book.cells_key, unpack(names, first, last))
    for i = first, last do load_cell(book, i, packed[i - first + 1]) end
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

local function touch(book, id, day, record)
  local written = book.written[day]
  if not written then
    written = {}
    book.written[day] = written
  end
  written[id] = record
  book.records[id] = record
end

-- A cell that exists has all five balances.
local function create(book, position)
  local pools = book.pools
  if pools[1][position] then return end
  for pool = 1, 5 do pools[pool][position] = 0 end
  book.created[#book.created + 1] = position
end

-- Writes what has changed since the last flush; the caches stay valid.
local function flush(book)
  local cells, n = {}, 0
  -- The field with an empty location lists the SKU's locations, so that one SKU can be read without a scan.
  for _, position in ipairs(book.created) do
    local name = book.names[position]
    local at = string.find(name, '\31', 1, true)
    local field, location = string.sub(name, 1, at), string.sub(name, at + 1)
    local listed = redis.call('HGET', book.cells_key, field)
    redis.call('HSET', book.cells_key, field, listed and (listed .. '\31' .. location) or location)
  end
  book.created = {}
  local pools, names = book.pools, book.names
  for position in pairs(book.dirty) do
    book.dirty[position] = nil
    cells[n + 1] = names[position]
    cells[n + 2] = struct.pack(BALANCES, pools[1][position], pools[2][position], pools[3][position], pools[4][position], pools[5][position])
    n = n + 2
  end
  call_chunked('HSET', book.cells_key, cells)

  for day, written in pairs(book.written) do
    local set = {}
    n = 0
    for id, record in pairs(written) do
      set[n + 1], set[n + 2] = id, record
      n = n + 2
    end
    call_chunked('HSET', book.lines_base .. day, set)
  end
  -- Removed first: a line may be aborted and reserved again in one batch.
  call_chunked('ZREM', book.holds_key, book.zrem)
  local due, score, text = {}, nil, nil
  n = 0
  for id, expires in pairs(book.zadd) do
    -- Most holds of a batch end at one time, and formatting it is dear.
    if expires ~= score then score, text = expires, digits(expires) end
    due[n + 1], due[n + 2] = text, id
    n = n + 2
  end
  call_chunked('ZADD', book.holds_key, due)
  book.written, book.zadd, book.zrem = {}, {}, {}
end

-- Appends an entry that brings so many events. Each carries the count of all so far, so that a reader knows how many it has missed.
local function append(book, events, ...)
  book.offset, book.events = book.offset + 1, book.events + events
  redis.call('XADD', book.log_key, digits(book.offset) .. '-0', 'n', digits(book.events), ...)
end

local function save_head(book)
  redis.call('HSET', book.head_key, 'offset', digits(book.offset), 'clock', digits(book.clock), 'events', digits(book.events))
end

-- When the next hold is really due: those in Redis, but for what this batch has ended, and those of this batch.
local function find_next_due(book)
  local ended = #book.zrem
  local first = redis.call('ZRANGE', book.holds_key, 0, ended, 'WITHSCORES')
  local next_due = tonumber(first[2]) or math.huge
  if ended > 0 then
    local gone = {}
    for i = 1, ended do gone[book.zrem[i]] = true end
    next_due = math.huge
    for i = 1, #first, 2 do
      if not gone[first[i]] then
        next_due = tonumber(first[i + 1])
        break
      end
    end
  end
  for _, expires in pairs(book.zadd) do
    if expires < next_due then next_due = expires end
  end
  book.next_due = next_due
  return next_due
end

-- Gives back holds that are due at the book's clock, the oldest first, SWEEP_LIMIT at most, as one log entry. A hold whose line's record has
-- been lost ends without giving anything back, for nobody knows what: an audit finds its units. Returns how many holds ended.
local function sweep(book)
  flush(book)
  local due = redis.call('ZRANGEBYSCORE', book.holds_key, '-inf', digits(book.clock), 'LIMIT', 0, SWEEP_LIMIT)
  local ids, names, units, from_pools = {}, {}, {}, {}
  local pools = book.pools
  for _, id in ipairs(due) do
    local day = day_of(id)
    local record = book.records[id] or redis.call('HGET', book.lines_base .. day, id)
    book.zrem[#book.zrem + 1] = id
    if record then
      local i = #ids + 1
      local kind, outcome, _, pool, attempt, expires, held, print, after = struct.unpack(RECORD, record)
      local name = string.sub(record, after)
      local c = cell_position(book, name)
      if pool == PRESALE then
        pools[PRESALE][c] = pools[PRESALE][c] + held
      else
        pools[RESERVED][c] = pools[RESERVED][c] - held
        pools[SELLABLE][c] = pools[SELLABLE][c] + held
      end
      book.dirty[c] = true
      touch(book, id, day, struct.pack(RECORD, kind, outcome, EXPIRED, pool, attempt, expires, held, print) .. name)
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

-- Drops the buckets of days that no new id may name and no held line can be in; not while holds are due, for a sweep needs their lines.
local function forget(book)
  local last = math.floor(book.clock / DAY_MS) - book.retention_days - HOLD_MARGIN_DAYS - 1
  local forgotten = book.forgotten or last - 1
  if forgotten >= last or book.clock >= book.next_due then return end
  for day = forgotten + 1, last do redis.call('UNLINK', book.lines_base .. day) end
  book.forgotten = last
  redis.call('HSET', book.head_key, 'forgotten', last, 'retention', book.retention_days)
end

-- Scopes that refuse new orders now, or nil when none does.
local function closed_scopes(book)
  local fields = redis.call('HGETALL', book.gates_key)
  if #fields == 0 then return nil end
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

-- stock_apply: decides a batch of commands in order.
-- KEYS: head, cells, holds, gates, log, then the buckets of the days that the batch's ids carry
-- ARGV: 1 clock: '' for this server's, else milliseconds (commands' own times then move the clock on, too)
--       2 retention of ids in days
--       3 base name of the day buckets
--       4 the batch: msgpack [1, kinds, cell names, cells, units, ids, fingerprints, pools, days, day numbers, attempts, holds, times,
--         target cells, details]; kinds and pools are one byte a command; attempts, times, target cells and details may be 0 for "none",
--         holds may be one number for all
-- Returns: outcomes (one byte a command, +128 when repeated), states (one byte a command), last offset of the log
local function apply(keys, args)
  local batch = cmsgpack.unpack(args[4])
  if batch[1] ~= 1 then return redis.error_reply('BATCH version ' .. tostring(batch[1]) .. ' is not known') end
  local kinds, names, cell, units, ids, prints = batch[2], batch[3], batch[4], batch[5], batch[6], batch[7]
  local pool_bytes, days, day_numbers = batch[8], batch[9], batch[10]
  local attempts, holds, times, targets = batch[11], batch[12], batch[13], batch[14]
  if attempts == 0 then attempts = nil end
  if times == 0 then times = nil end
  if targets == 0 then targets = nil end
  local hold_all = type(holds) == 'number' and holds or nil
  local n = #ids
  local pack, unpack_struct, sub = struct.pack, struct.unpack, string.sub
  local kind_codes, pool_codes = { string.byte(kinds, 1, n) }, { string.byte(pool_bytes, 1, n) }

  local book = open_book(keys, args[3], tonumber(args[2]))
  local given = args[1] ~= ''
  local now = given and tonumber(args[1]) or server_now()
  if now > book.clock then book.clock = now end
  load_cells(book, names)

  -- Records of all ids, one read a bucket.
  local records = book.records
  for d = 1, #day_numbers do
    local wanted = ids
    if #day_numbers > 1 then
      wanted = {}
      for i = 1, n do
        if days[i] == d then wanted[#wanted + 1] = ids[i] end
      end
    end
    local found = redis.call('HMGET', keys[5 + d], unpack(wanted))
    for i = 1, #wanted do
      if found[i] then records[wanted[i]] = found[i] end
    end
  end

  local scopes = closed_scopes(book)
  local pools = book.pools
  local sellable, reserved, committed, safety, presale = pools[1], pools[2], pools[3], pools[4], pools[5]
  local dirty = book.dirty
  local outcomes, states = {}, {}
  local segment, segment_clock = 1, book.clock -- first command not yet in the log, and the clock before it
  local fresh, accepted = false, 0 -- whether the segment has something to log, and how many events it brings
  local tomorrow, first_day, last_day = 0, 0, 0 -- when the day ends; days that a new id may carry

  local function log_segment(last)
    if fresh then
      local fields = { 't', digits(segment_clock), 'b', args[4], 'o', table.concat(outcomes, '', segment, last) }
      if segment > 1 then fields[#fields + 1] = 's'; fields[#fields + 1] = segment - 1 end
      if given then fields[#fields + 1] = 'g'; fields[#fields + 1] = 1 end
      append(book, accepted, unpack(fields))
    end
    segment, segment_clock, fresh, accepted = last + 1, book.clock, false, 0
  end

  -- Whether units from outside the cell fit into it.
  local function fits(c, pool, amount)
    local present
    if pool == PRESALE then present = presale[c] or 0
    else present = (sellable[c] or 0) + (reserved[c] or 0) + (committed[c] or 0) + (safety[c] or 0) end
    return amount <= MAX_UNITS - present
  end
  local function shift(c, from, to, amount)
    if from ~= 0 then pools[from][c] = pools[from][c] - amount end
    if to ~= 0 then pools[to][c] = pools[to][c] + amount end
    dirty[c] = true
  end

  for i = 1, n do
    local at = given and times and times[i] or 0
    if at > book.clock then book.clock = at end
    if book.clock >= book.next_due and book.clock >= find_next_due(book) then
      log_segment(i - 1)
      sweep(book)
    end
    if book.clock >= tomorrow then
      local today = math.floor(book.clock / DAY_MS)
      forget(book)
      -- A longer retention does not bring back what is forgotten.
      first_day, last_day = math.max(today - book.retention_days, book.forgotten + 1), today + 1
      -- What was read of these days, or done to them by this batch, is forgotten, too.
      for k = 1, n do
        local day = day_numbers[days[k]]
        if day <= book.forgotten then records[ids[k]], book.written[day] = nil, nil end
      end
      -- While holds are still due the forgetting waits, and is tried again at the next command.
      if book.clock < book.next_due then tomorrow = (today + 1) * DAY_MS end
    end

    local kind, id, c, amount = kind_codes[i], ids[i], cell[i], units[i]
    local pool, day = pool_codes[i], day_numbers[days[i]]
    local record = records[id]
    local outcome, state = ACCEPTED, NONE

    if kind < PAY or kind == RETURN or (kind > ABORT and kind ~= UNPAY) then
      -- A command that brings its own id.
      local attempt = attempts and attempts[i] or 1
      local was_kind, was_outcome, was_state, was_pool, was_attempt, expires, held, print, after
      local aborted = false -- reserved and given up again: only a later try may reserve
      if record then
        was_kind, was_outcome, was_state, was_pool, was_attempt, expires, held, print, after = unpack_struct(RECORD, record)
        aborted = was_kind == RESERVE and was_outcome == ACCEPTED and was_state == NONE
      end
      if record and print ~= prints[i] and (print ~= 0 or kind ~= RESERVE) then
        outcome = ID_REUSED
      elseif aborted and attempt <= was_attempt then
        outcome = SUPERSEDED
      elseif record and not aborted then
        outcome, state = was_outcome + REPEATED, was_state
        if attempt > was_attempt then
          touch(book, id, day, pack(RECORD, was_kind, was_outcome, was_state, was_pool, attempt, expires, held, print) .. sub(record, after))
        end
      elseif day < first_day or day > last_day then
        outcome = ID_OUTSIDE_WINDOW
      elseif kind == RESERVE and scopes and is_closed(scopes, book.clock, names[c]) then
        outcome = BREAKER_OPEN
      else
        local expires, remembered_pool = 0, SELLABLE
        if kind == RESERVE then
          remembered_pool = pool
          local source = pools[pool][c]
          if not source then
            outcome = UNKNOWN_SKU
          elseif source < amount then
            outcome = pool == PRESALE and INSUFFICIENT_PRESALE or INSUFFICIENT_SELLABLE
          else
            pools[pool][c] = source - amount
            if pool == SELLABLE then reserved[c] = reserved[c] + amount end
            dirty[c] = true
            state = HELD
          end
          expires = book.clock + (hold_all or holds[i])
          if state == HELD then
            book.zadd[id] = expires
            if expires < book.next_due then book.next_due = expires end
          end
        elseif kind == CORRECT and pool == RESERVED then
          outcome = sellable[c] and INSUFFICIENT_UNITS or UNKNOWN_SKU -- they belong to held lines
        elseif kind == RECEIVE or kind == RETURN or (kind == CORRECT and amount > 0) then
          if fits(c, pool, amount) then
            create(book, c)
            shift(c, 0, pool, amount)
          else
            outcome = LIMIT_EXCEEDED
          end
        elseif kind == CORRECT then
          local source = pools[pool][c]
          if not source then outcome = UNKNOWN_SKU
          elseif source < -amount then outcome = INSUFFICIENT_UNITS
          else shift(c, pool, 0, -amount) end
        elseif kind == MOVE then
          local from, to = math.floor(pool / 8), pool % 8
          local target = targets and targets[i] or 0
          if target == 0 then target = c end
          local source = pools[from][c]
          if not source then outcome = UNKNOWN_SKU
          elseif source < amount then outcome = INSUFFICIENT_UNITS
          elseif target ~= c and not fits(target, to, amount) then outcome = LIMIT_EXCEEDED
          else
            create(book, target)
            shift(c, from, 0, amount)
            shift(target, 0, to, amount)
          end
        end
        touch(book, id, day, pack(RECORD, kind, outcome, state, remembered_pool, attempt, expires, kind == CORRECT and 0 or amount, prints[i]) .. names[c])
        fresh = true
      end
    else
      -- A command about a line reserved before.
      local was_kind, was_outcome, was_state, was_pool, attempt, expires, held, print, after
      if record then was_kind, was_outcome, was_state, was_pool, attempt, expires, held, print, after = unpack_struct(RECORD, record) end
      if not record or was_kind ~= RESERVE or was_outcome ~= ACCEPTED or was_state == NONE then
        if kind ~= ABORT then
          outcome = UNKNOWN_LINE
        else
          -- Nothing to undo; but a reservation of this try or an older one that is still on its way must not be taken any more.
          outcome = ACCEPTED + REPEATED
          if not record and day >= first_day and day <= last_day then
            touch(book, id, day, pack(RECORD, RESERVE, ACCEPTED, NONE, pool, attempts[i], 0, amount, 0) .. names[c])
          elseif record and was_kind == RESERVE and was_outcome == ACCEPTED and attempts[i] > attempt then
            touch(book, id, day, pack(RECORD, was_kind, was_outcome, NONE, was_pool, attempts[i], expires, held, print) .. sub(record, after))
          end
        end
      elseif held ~= amount or was_pool ~= pool or sub(record, after) ~= names[c] then
        outcome, state = LINE_MISMATCH, was_state
      elseif kind == ABORT then
        if was_state ~= HELD or attempt > attempts[i] then
          outcome, state = SUPERSEDED, was_state
        else
          if pool == PRESALE then shift(c, 0, PRESALE, held) else shift(c, RESERVED, SELLABLE, held) end
          touch(book, id, day, pack(RECORD, was_kind, was_outcome, NONE, was_pool, attempts[i], expires, held, print) .. names[c])
          fresh = true
        end
      else
        state = was_state
        -- A later payment takes the line over, so that an earlier one can no longer undo it, nor do again what has been undone.
        local newest = attempt
        if kind == PAY then
          local tried = attempts and attempts[i] or 1
          newest = math.max(attempt, tried)
          if was_state == HELD then
            if pool == SELLABLE then shift(c, RESERVED, COMMITTED, held) end
            state = PAID
          elseif was_state == PAID or was_state == OUT then
            outcome = ACCEPTED + REPEATED
            if newest > attempt then
              touch(book, id, day, pack(RECORD, was_kind, was_outcome, state, was_pool, newest, expires, held, print) .. names[c])
            end
          elseif was_state == CANCELLED or was_state == REFUNDED then
            outcome = LINE_CANCELLED
          elseif was_state == UNPAID and newest == attempt then
            outcome = HOLD_EXPIRED + REPEATED
          elseif pools[pool][c] < held then
            outcome = HOLD_EXPIRED
            -- A numbered try that is refused is refused for good: it may be on its way twice, and units come back.
            if tried > 1 then
              state = UNPAID
              touch(book, id, day, pack(RECORD, was_kind, was_outcome, UNPAID, was_pool, newest, expires, held, print) .. names[c])
            end
          else
            if pool == PRESALE then shift(c, PRESALE, 0, held) else shift(c, SELLABLE, COMMITTED, held) end
            outcome, state = ADMITTED_ANEW, PAID
          end
        elseif kind == CANCEL then
          if was_state == HELD then
            if pool == PRESALE then shift(c, 0, PRESALE, held) else shift(c, RESERVED, SELLABLE, held) end
            state = CANCELLED
          elseif was_state == PAID and pool == SELLABLE and committed[c] < held then
            outcome = INSUFFICIENT_UNITS
          elseif was_state == PAID then
            if pool == PRESALE then shift(c, 0, PRESALE, held) else shift(c, COMMITTED, SELLABLE, held) end
            outcome, state = CANCELLED_PAID, REFUNDED
          elseif was_state == OUT then
            outcome = ALREADY_OUTBOUND
          elseif was_state == REFUNDED then
            outcome = CANCELLED_PAID + REPEATED
          else
            -- Cancelled before, or its hold is lost: the units are back already, but a late payment must no longer take them anew.
            outcome, state = ACCEPTED + REPEATED, CANCELLED
          end
        elseif kind == UNPAY then
          if was_state ~= PAID or attempt > attempts[i] then
            outcome = SUPERSEDED
          elseif pool == SELLABLE and committed[c] < held then
            outcome = INSUFFICIENT_UNITS
          else
            if pool == PRESALE then shift(c, 0, PRESALE, held) else shift(c, COMMITTED, SELLABLE, held) end
            state, newest = UNPAID, attempts[i]
          end
        else -- OUTBOUND
          if was_state == OUT then outcome = ACCEPTED + REPEATED
          elseif was_state == CANCELLED or was_state == REFUNDED then outcome = LINE_CANCELLED
          elseif was_state == EXPIRED or was_state == UNPAID then outcome = HOLD_EXPIRED
          elseif was_state == HELD then outcome = NOT_PAID
          elseif pool == PRESALE and sellable[c] < held then outcome = INSUFFICIENT_SELLABLE
          elseif pool == SELLABLE and committed[c] < held then outcome = INSUFFICIENT_UNITS
          else
            shift(c, pool == PRESALE and SELLABLE or COMMITTED, 0, held)
            state = OUT
          end
        end
        if state ~= was_state then
          touch(book, id, day, pack(RECORD, was_kind, was_outcome, state, was_pool, newest, expires, held, print) .. names[c])
          fresh = true
        end
      end
      if record and was_state == HELD and state ~= HELD then
        if book.zadd[id] then book.zadd[id] = nil else book.zrem[#book.zrem + 1] = id end
      end
    end
    if outcome <= CANCELLED_PAID then accepted = accepted + 1 end
    outcomes[i], states[i] = char(outcome), char(state)
  end

  flush(book)
  log_segment(n)
  save_head(book)
  return { table.concat(outcomes), table.concat(states), digits(book.offset) }
end

-- stock_tick: lets time pass in a partition that may have no commands: gives back due holds, closes breakers whose time is over, and marks
-- in the log that the clock has crossed a multiple of the heartbeat, so that windows end.
-- KEYS: head, cells, holds, gates, log
-- ARGV: 1 clock ('' for this server's), 2 retention in days, 3 base name of the day buckets, 4 heartbeat in ms
-- Returns: holds given back, last offset, clock
local function tick(keys, args)
  local book = open_book(keys, args[3], tonumber(args[2]))
  local before = book.clock
  local now = args[1] ~= '' and tonumber(args[1]) or server_now()
  if now > book.clock then book.clock = now end
  local swept, logged = 0, book.offset
  if book.clock >= book.next_due then swept = sweep(book) end
  local fields = redis.call('HGETALL', book.gates_key)
  for i = 1, #fields, 2 do
    local gate = cjson.decode(fields[i + 1])
    if gate.untilMs > 0 and gate.untilMs <= book.clock then
      redis.call('HDEL', book.gates_key, fields[i])
      append(book, 0, 't', digits(book.clock), 'c', fields[i], 'j', cjson.encode({ action = 'close', actor = 'engine', reason = 'its time is over' }))
    end
  end
  local heartbeat = tonumber(args[4])
  if book.offset == logged and math.floor(book.clock / heartbeat) > math.floor(before / heartbeat) then
    append(book, 0, 't', digits(book.clock))
  end
  if book.offset > logged then
    forget(book)
    save_head(book)
  end
  return { swept, digits(book.offset), digits(book.clock) }
end

-- stock_gate: opens or closes a breaker in one partition.
-- KEYS: head, cells, holds, gates, log
-- ARGV: 1 clock ('' for this server's), 2 scope key, 3 'open' or 'close', 4 JSON {actor, reason, forMs} (forMs 0: until closed by hand)
-- Returns: the last offset, or nil when there was nothing to close
local function gate(keys, args)
  local book = open_book(keys, '', 0)
  local now = args[1] ~= '' and tonumber(args[1]) or server_now()
  if now > book.clock then book.clock = now end
  local detail = cjson.decode(args[4])
  if args[3] == 'open' then
    local until_ms = detail.forMs > 0 and book.clock + detail.forMs or 0
    -- Written by hand: cjson would give times an exponent.
    redis.call('HSET', book.gates_key, args[2], string.format('{"untilMs":%s,"sinceMs":%s,"actor":%s,"reason":%s}', digits(until_ms),
      digits(book.clock), cjson.encode(detail.actor), cjson.encode(detail.reason)))
  elseif redis.call('HDEL', book.gates_key, args[2]) == 0 then
    return false
  end
  append(book, 0, 't', digits(book.clock), 'c', args[2], 'j', cjson.encode({ action = args[3], actor = detail.actor, reason = detail.reason }))
  save_head(book)
  return digits(book.offset)
end

-- When Redis is full no new command is taken, and time goes on all the same: holds end, windows end, breakers open and close. What these
-- write is little, and trimming needs it.
redis.register_function('stock_apply', apply)
redis.register_function { function_name = 'stock_tick', callback = tick, flags = { 'allow-oom' } }
redis.register_function { function_name = 'stock_gate', callback = gate, flags = { 'allow-oom' } }
