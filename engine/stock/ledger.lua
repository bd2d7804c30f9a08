#!lua name=shuiwei_stock
-- The ledger: the rules of decide.ts, atomic (R1-R3, R14). One call decides a batch of commands for one partition:
-- it changes balances, records ids and appends the event to the partition's log. The deduction is the log entry.
-- Nothing is written before the whole batch is decided, except sweeps of expired holds and the retirement of old days,
-- each complete in itself. It does not support orders with several SKUs (the caller aborts the other lines).

-- include ./ledger-codes.lua
-- include ./ledger-partition.lua
-- include ./ledger-expiry.lua
-- include ./ledger-breakers.lua
-- include ./ledger-decisions.lua

-- The records of a batch's ids as they are before the call, with one read a day's bucket.
local function read_records(keys, ids, days, day_numbers)
  if not days then return redis.call('HMGET', keys[6], unpack(ids)) end
  local found = {}
  for d = 1, #day_numbers do
    local ids_of_day, at = {}, {}
    for i = 1, #ids do
      if days[i] == d then ids_of_day[#ids_of_day + 1], at[#at + 1] = ids[i], i end
    end
    local records = redis.call('HMGET', keys[5 + d], unpack(ids_of_day))
    for k = 1, #at do found[at[k]] = records[k] end
  end
  return found
end

-- Retires days in the middle of a batch. Records of these days that the batch has read or written are dropped, too.
local function retire_days_of_batch(partition, found, ids, days, day_numbers)
  retire_days(partition)
  local records = partition.records
  local dropped = {} -- an id may be in the batch twice
  for k = 1, #ids do
    local day = day_numbers[days and days[k] or 1]
    if day <= partition.retired_day then
      local record = records[ids[k]] or found[k]
      if partition.format == 1 then
        found[k], records[ids[k]], partition.written[day] = false, nil, nil
      elseif dropped[ids[k]] or record and not is_kept(partition, record) then
        found[k], records[ids[k]], dropped[ids[k]] = false, nil, true
      end
    end
  end
end

-- Logs the commands from `first` to `last` of a batch as one entry. A batch has several such segments when holds expire
-- in the middle of it. `events` is the number of commands that were accepted.
local function log_segment(partition, batch, outcomes, first, last, start_clock, events, is_caller_clock)
  local fields = { 't', digits(start_clock), 'b', batch, 'o', table.concat(outcomes, '', first, last) }
  if first > 1 then fields[#fields + 1] = 's'; fields[#fields + 1] = first - 1 end
  if is_caller_clock then fields[#fields + 1] = 'g'; fields[#fields + 1] = 1 end
  if partition.deducted[1] then
    fields[#fields + 1] = 'd'; fields[#fields + 1] = table.concat(partition.deducted)
    partition.deducted = {}
  end
  if partition.moved[1] then
    for m = 1, #partition.moved do
      if #partition.moved[m] > 5 then events = events + 1 end -- one event for each of its two pools
    end
    fields[#fields + 1] = 'm'; fields[#fields + 1] = cmsgpack.pack(partition.moved)
    partition.moved = {}
  end
  append(partition, events, unpack(fields))
end

-- What cells must hold, and the instants that corrections belong to, each by the command's position.
local function expectations_of(packed)
  local expected, instants = {}, {}
  if packed and packed ~= '' then
    for _, expectation in ipairs(cmsgpack.unpack(packed)) do
      local i, units, instant = unpack(expectation)
      if units >= 0 then expected[i] = units end
      if instant >= 0 then instants[i] = instant end
    end
  end
  return expected, instants
end

-- stock_apply: decides a batch of commands in order.
-- KEYS: head, cells, holds, breakers, log, then the buckets of the days that the batch's ids carry
-- ARGV: 1 clock: see time_of (a clock of the caller's own also moves on with the commands' times)
--       2 retention of ids in days
--       3 base name of the day buckets
--       4 the batch: msgpack [2, kinds, cell names, cells, units, ids, pools, days, day numbers, attempts, holds,
--         times, target cells, details]; kinds and pools are one byte a command, with marks in a pool's; days may be 0
--         for "all of the first", attempts, times, target cells and details 0 for "none", holds one number for all
--       5 fingerprints, 8 bytes a command; not logged, because only the ledger uses them
--       6 the deployment's format
--       7 expectations: msgpack list of [position, units on hand that the cell must hold or -1, instant that the
--         correction belongs to or -1], or empty; not logged, because only the ledger uses them
--       8, 9 names of the sets of corrected cells and of settled differences
-- Returns: outcomes (one byte a command, +128 when repeated); states (one byte a command, +128 when the line is not
--          counted as demand); last offset of the log; position and number of missing units for each command whose line
--          lacks units
local function apply(keys, args)
  local batch, fingerprints = cmsgpack.unpack(args[4]), args[5]
  if batch[1] ~= 2 then return redis.error_reply('BATCH version ' .. tostring(batch[1]) .. ' is not known') end
  local kinds, names, cell, units, ids, pool_bytes = batch[2], batch[3], batch[4], batch[5], batch[6], batch[7]
  local days, day_numbers, attempts, holds, times = batch[8], batch[9], batch[10], batch[11], batch[12]
  local targets = batch[13]
  if days == 0 then days = nil end
  if attempts == 0 then attempts = nil end
  if times == 0 then times = nil end
  if targets == 0 then targets = nil end
  local hold_all = type(holds) == 'number' and holds or nil
  local n = #ids
  local expected, instants = expectations_of(args[7])
  local corrections, changed_balances = {}, {} -- to be written; positions of commands with BALANCE_CHANGED
  local sub = string.sub
  local kind_codes, pool_codes = { string.byte(kinds, 1, n) }, { string.byte(pool_bytes, 1, n) }

  local partition = open_partition(keys, args[3], tonumber(args[2]), n, tonumber(args[6]))
  local is_caller_clock = set_clock(partition, args[1])
  load_cells(partition, names)
  local found, records = read_records(keys, ids, days, day_numbers), partition.records
  local breakers = breakers_of(partition, names)
  local outcomes, states = list_of(n), list_of(n)
  local segment, segment_clock = 1, partition.clock -- first command that is not in the log yet, and the clock before it
  local has_changes, events = false, 0 -- of the segment
  local tomorrow, first_day, last_day = 0, 0, 0 -- when the day ends; days that a new id may carry

  for i = 1, n do
    local at = is_caller_clock and times and times[i] or 0
    if at > partition.clock then partition.clock = at end
    if not partition.refused_by and present(partition) >= partition.next_due
      and present(partition) >= find_next_due(partition) then
      if has_changes then
        log_segment(partition, args[4], outcomes, segment, i - 1, segment_clock, events, is_caller_clock)
      end
      segment, segment_clock, has_changes, events = i, partition.clock, false, 0
      sweep(partition)
    end
    if present(partition) >= tomorrow then
      local today = math.floor(present(partition) / DAY_MS)
      retire_days_of_batch(partition, found, ids, days, day_numbers)
      -- A longer retention does not bring back days that are retired.
      first_day, last_day = math.max(today - partition.retention_days, partition.retired_day + 1), today + 1
      -- While holds are still due no day is retired: it is tried again at the next command.
      if partition.refused_by or present(partition) < partition.next_due then tomorrow = (today + 1) * DAY_MS end
    end

    local kind, id, c, amount = kind_codes[i], ids[i], cell[i], units[i]
    local byte, day = pool_codes[i], day_numbers[days and days[i] or 1]
    local record = records[id] or found[i]
    local attempt = attempts and attempts[i] or 1
    local outcome, state, missing, changed = ACCEPTED, NONE, nil, nil

    if kind >= PAY and kind ~= RETURN and (kind <= ABORT or kind >= UNPAY) then
      outcome, state, changed, missing = decide_line(partition, i, kind, id, day, c, byte, amount, attempt,
        hold_all or holds[i], record, names[c], day >= first_day and day <= last_day)
    else
      local fingerprint, is_new = sub(fingerprints, 8 * i - 7, 8 * i), true
      if record then
        outcome, state, is_new, missing =
          decide_known_id(partition, kind, id, day, byte, attempt, fingerprint, record)
      end
      if not is_new then
        -- Decided before.
      elseif kind == RESERVE and partition.refused_by then
        outcome = partition.refused_by
      elseif day < first_day or day > last_day then
        outcome = ID_OUTSIDE_WINDOW
      elseif kind == RESERVE then
        outcome, state, changed = reserve(partition, breakers, id, day, c, byte, byte % POOL_CODES, amount, attempt,
          hold_all or holds[i], fingerprint, names[c])
      else
        local target = targets and targets[i] or 0
        if expected[i] and expected[i] ~= on_hand(partition, c) then
          outcome = BALANCE_CHANGED
        else
          outcome = decide_goods(partition, kind, c, kind == MOVE and byte or byte % POOL_CODES, amount,
            target ~= 0 and target or c)
        end
        if kind == CORRECT and outcome == ACCEPTED and byte % POOL_CODES ~= PRESALE then
          local k = #corrections
          corrections[k + 1], corrections[k + 2], corrections[k + 3] = partition.clock, names[c], id
          corrections[k + 4], corrections[k + 5] = amount, instants[i] or -1
        end
        put_record(partition, id, day, kind, outcome, NONE, SELLABLE, attempt, 0, kind == CORRECT and 0 or amount,
          fingerprint, names[c])
        changed = true
      end
    end
    if missing and missing > 0 then
      local list = partition.missing
      list[#list + 1], list[#list + 2] = digits(i), digits(missing)
    end
    if changed then has_changes = true end
    if outcome <= CANCELLED_PAID then events = events + 1 end
    if outcome % REPEATED == BALANCE_CHANGED then
      -- The log has another refusal instead: readers of an older release reject an entry with a code they do not have.
      changed_balances[#changed_balances + 1] = i
      outcome = outcome - BALANCE_CHANGED + INSUFFICIENT_UNITS
    end
    outcomes[i], states[i] = char(outcome), char(state)
  end

  flush(partition)
  if corrections[1] then save_corrections(args[8], args[9], corrections) end
  if has_changes then log_segment(partition, args[4], outcomes, segment, n, segment_clock, events, is_caller_clock) end
  save_head(partition)
  for _, i in ipairs(changed_balances) do
    outcomes[i] = char(string.byte(outcomes[i]) - INSUFFICIENT_UNITS + BALANCE_CHANGED)
  end
  return { table.concat(outcomes), table.concat(states), digits(partition.offset), partition.missing }
end

-- The time in the log's last entry. The partition's clock may be later: repeated and refused commands move it on
-- without an entry.
local function last_logged_time(partition)
  local entry = redis.call('XREVRANGE', partition.log_key, '+', '-', 'COUNT', 1)[1]
  local fields = entry and entry[2] or {}
  for i = 1, #fields, 2 do
    if fields[i] == 't' then return tonumber(fields[i + 1]) or 0 end
  end
  return 0
end

-- stock_tick: does what is due by time in a partition that may have no commands: ends due holds, ends breakers whose
-- time is over, and appends an empty log entry when the clock has crossed a multiple of the heartbeat since the last
-- entry, so that windows end.
-- KEYS: head, cells, holds, breakers, log
-- ARGV: 1 clock (see time_of), 2 retention in days, 3 base name of the day buckets, 4 heartbeat in ms, 5 the
--       deployment's format
-- Returns: number of ended holds, last offset, clock
local function tick(keys, args)
  local partition = open_partition(keys, args[3], tonumber(args[2]), SWEEP_LIMIT, tonumber(args[5]))
  set_clock(partition, args[1])
  local swept, offset_before = 0, partition.offset
  if not partition.refused_by and present(partition) >= partition.next_due
    and present(partition) >= find_next_due(partition) then
    swept = sweep(partition)
  end
  end_due_breakers(partition)
  local heartbeat = tonumber(args[4])
  if partition.offset == offset_before
    and math.floor(partition.clock / heartbeat) > math.floor(last_logged_time(partition) / heartbeat) then
    append(partition, 0, 't', digits(partition.clock))
  end
  if partition.offset > offset_before then
    retire_days(partition)
    save_head(partition)
  end
  if partition.format > 1 then strip_retired_day(partition) end
  return { swept, digits(partition.offset), digits(partition.clock) }
end

-- 'allow-oom': when Redis is full nothing new is begun, but time goes on: holds and windows end, breakers open and
-- close. These writes are small, and trimming needs them. stock_go_on is stock_apply for commands that continue what
-- has begun: payments, cancellations, parcels.
redis.register_function('stock_apply', apply)
redis.register_function { function_name = 'stock_go_on', callback = apply, flags = { 'allow-oom' } }
redis.register_function { function_name = 'stock_tick', callback = tick, flags = { 'allow-oom' } }
redis.register_function { function_name = 'stock_apply_breaker', callback = apply_breaker, flags = { 'allow-oom' } }
redis.register_function { function_name = 'stock_set_breaker', callback = set_breaker, flags = { 'allow-oom' } }
