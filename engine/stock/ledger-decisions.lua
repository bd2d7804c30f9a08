-- The rules (R1-R3): what one command does to one line or cell. A part of ledger.lua. The functions change the
-- partition's state in memory only. Names: `amount`, `attempt` and `command_byte` are the command's; `held`,
-- `line_attempt` and `byte` those of the line's record. `missing` counts units of a line that were in no pool.

-- A command with its own id that is already known. Returns the outcome, the line's state with its mark, whether the
-- command is decided as a new one, and the line's missing units.
local function decide_known_id(partition, kind, id, day, command_byte, attempt, fingerprint, record)
  local was_kind, was_outcome, state, byte, line_attempt, expires, held = struct.unpack(HEADER, record)
  local was_fingerprint = fingerprint_of(record)
  if was_fingerprint ~= fingerprint and (was_fingerprint ~= NO_FINGERPRINT or kind ~= RESERVE) then
    return ID_REUSED, NONE, false
  end
  if has_mark(byte, OF_ORDER) and not has_mark(command_byte, OF_ORDER) and partition.format > 1 then
    return ORDER_LINE, state ~= NONE and has_mark(byte, UNCOUNTED) and state + IS_UNCOUNTED or state, false
  end
  if was_kind == RESERVE and was_outcome == ACCEPTED and state == NONE then
    -- The reservation was aborted: only a later attempt may reserve again.
    if attempt <= line_attempt then return SUPERSEDED, NONE, false end
    return ACCEPTED, NONE, true
  end
  local marked = has_mark(byte, UNCOUNTED) and state + IS_UNCOUNTED or state
  local owned = kind == RESERVE and with_owner(byte, command_byte) or byte
  if attempt > line_attempt or owned ~= byte then
    put_record(partition, id, day, was_kind, was_outcome, state, owned, math.max(attempt, line_attempt), expires, held,
      was_fingerprint, string.sub(record, NAME_AT))
  end
  return was_outcome + REPEATED, marked, false, math.max(0, -expires)
end

-- Commands about goods: received, corrected, moved, returned. Returns the outcome.
local function decide_goods(partition, kind, c, pool, amount, target)
  local all, base = partition.balances, 5 * c - 5
  if kind == CORRECT and pool == RESERVED then
    return all[base + SELLABLE] and INSUFFICIENT_UNITS or UNKNOWN_SKU -- they belong to held lines
  elseif kind == RECEIVE or kind == RETURN or (kind == CORRECT and amount > 0) then
    if not fits(partition, c, pool, amount) then return LIMIT_EXCEEDED end
    create_cell(partition, c)
    transfer(partition, c, OUTSIDE, pool, amount)
  elseif kind == CORRECT then
    local source = all[base + pool]
    if not source then return UNKNOWN_SKU end
    if source < -amount then return INSUFFICIENT_UNITS end
    transfer(partition, c, pool, OUTSIDE, -amount)
  elseif kind == MOVE then
    local from, to = math.floor(pool / 8), pool % 8
    local source = all[base + from]
    if not source then return UNKNOWN_SKU end
    if source < amount then return INSUFFICIENT_UNITS end
    if target ~= c and not fits(partition, target, to, amount) then return LIMIT_EXCEEDED end
    create_cell(partition, target)
    transfer(partition, c, from, OUTSIDE, amount)
    transfer(partition, target, OUTSIDE, to, amount)
  end
  return ACCEPTED
end

-- A new reservation. Returns the outcome and the line's state with its mark.
local function reserve(partition, breakers, id, day, c, byte, pool, amount, attempt, hold_ms, fingerprint, name)
  if breakers and is_refused(breakers, present(partition), name) then return BREAKER_OPEN, NONE, false end
  local all, base = partition.balances, 5 * c - 5
  local source, expires = all[base + pool], present(partition) + hold_ms
  local outcome, state = ACCEPTED, NONE
  if not source then
    outcome = UNKNOWN_SKU
  elseif source < amount then
    outcome = pool == PRESALE and INSUFFICIENT_PRESALE or INSUFFICIENT_SELLABLE
  else
    all[base + pool] = source - amount
    if pool == SELLABLE then all[base + RESERVED] = all[base + RESERVED] + amount end
    partition.dirty[c] = true
    state = HELD
    add_hold(partition, id, expires)
  end
  local uncounted = has_mark(byte, UNCOUNTED)
  if state ~= HELD and uncounted then byte, uncounted = byte - UNCOUNTED, false end
  put_record(partition, id, day, RESERVE, outcome, state, byte, attempt, expires, amount, fingerprint, name)
  return outcome, uncounted and HELD + IS_UNCOUNTED or state, true
end

-- An ABORT of a line that is not held. There is nothing to undo, but a reservation of this attempt or an older one
-- that arrives later must be refused.
local function abort_nothing(partition, id, day, byte, amount, attempt, record, name, is_in_window)
  if not record then
    if is_in_window then
      put_record(partition, id, day, RESERVE, ACCEPTED, NONE, byte, attempt, 0, amount, NO_FINGERPRINT, name)
    end
    return
  end
  local was_kind, was_outcome, _, was_byte, line_attempt, expires, held = struct.unpack(HEADER, record)
  if was_kind == RESERVE and was_outcome == ACCEPTED and attempt > line_attempt then
    put_record(partition, id, day, was_kind, was_outcome, NONE, was_byte, attempt, expires, held,
      fingerprint_of(record), string.sub(record, NAME_AT))
  end
end

-- Goods that have left are a fact: the units are taken from the pool that should hold them, then from sellable.
-- Returns the missing units.
local function take_outbound_units(partition, i, c, pool, held, state)
  local all, base = partition.balances, 5 * c - 5
  local is_paid = state == PAID or state == CANCELLING
  local own = pool == PRESALE and SELLABLE or state == HELD and RESERVED or is_paid and COMMITTED or SELLABLE
  local first = math.min(held, all[base + own] or 0)
  if first > 0 then transfer(partition, c, own, OUTSIDE, first) end
  if first == held and (pool == PRESALE or is_paid) then return 0 end
  local second = math.min(held - first, own ~= SELLABLE and all[base + SELLABLE] or 0)
  if second > 0 then transfer(partition, c, SELLABLE, OUTSIDE, second) end
  local move = { i - 1, held - first - second }
  if first > 0 then move[3], move[4], move[5] = own, OUTSIDE, first end
  if second > 0 then
    local n = #move
    move[n + 1], move[n + 2], move[n + 3] = SELLABLE, OUTSIDE, second
  end
  partition.moved[#partition.moved + 1] = move
  return held - first - second
end

-- Committed units of a cancelled line become sellable again, as many as there are. Returns the missing units.
local function return_committed_units(partition, i, c, held)
  local back = math.min(held, partition.balances[5 * c - 5 + COMMITTED] or 0)
  if back > 0 then transfer(partition, c, COMMITTED, SELLABLE, back) end
  if back < held then
    partition.moved[#partition.moved + 1] =
      back > 0 and { i - 1, held - back, COMMITTED, SELLABLE, back } or { i - 1, held }
  end
  return held - back
end

-- The functions below decide one kind of command about a line, and move its units. Each returns the outcome, the
-- line's state afterwards, the attempt that owns the line from then on, and, when the line ends now, its missing units.

local function pay(partition, c, pool, held, state, line_attempt, attempt)
  -- A later payment becomes the line's owner: an earlier one can then neither undo it nor repeat what was undone.
  local newest = math.max(line_attempt, attempt)
  if state == HELD then
    if pool == SELLABLE then transfer(partition, c, RESERVED, COMMITTED, held) end
    return ACCEPTED, PAID, newest
  elseif state == PAID or state == CANCELLING or state == OUT then
    return ACCEPTED + REPEATED, state, newest
  elseif state == CANCELLED or state == REFUNDED then
    return LINE_CANCELLED, state, line_attempt
  elseif state == UNPAID and newest == line_attempt then
    return HOLD_EXPIRED + REPEATED, state, line_attempt
  elseif partition.balances[5 * c - 5 + pool] < held then
    -- The refusal of a numbered attempt is final: the command may arrive twice, and units may come back in between.
    if attempt > 1 then return HOLD_EXPIRED, UNPAID, newest end
    return HOLD_EXPIRED, state, line_attempt
  end
  if pool == PRESALE then transfer(partition, c, PRESALE, OUTSIDE, held)
  else transfer(partition, c, SELLABLE, COMMITTED, held) end
  return ADMITTED_ANEW, PAID, newest
end

local function cancel(partition, i, c, pool, held, state, line_attempt, attempt, by_order_service)
  if state == HELD then
    return_units(partition, c, pool, RESERVED, held)
    return ACCEPTED, CANCELLED, line_attempt
  elseif by_order_service and (state == PAID or state == CANCELLING and attempt < line_attempt) then
    return SUPERSEDED, state, line_attempt -- a warehouse may have the goods: the newest attempt suspends the line first
  elseif state == PAID or state == CANCELLING then
    local missing = 0
    if pool == PRESALE then
      transfer(partition, c, OUTSIDE, PRESALE, held)
    elseif partition.format == 1 and partition.balances[5 * c - 5 + COMMITTED] < held then
      return INSUFFICIENT_UNITS, state, line_attempt
    else
      missing = return_committed_units(partition, i, c, held)
    end
    return CANCELLED_PAID, REFUNDED, line_attempt, missing
  elseif state == OUT then
    return ALREADY_OUTBOUND, state, line_attempt
  elseif state == REFUNDED then
    return CANCELLED_PAID + REPEATED, state, line_attempt
  end
  -- Already cancelled, or its hold has ended: the units are back, but a late payment must not take them again.
  return ACCEPTED + REPEATED, CANCELLED, line_attempt
end

local function suspend(state, line_attempt, attempt)
  -- An older attempt that arrives late must not stop a line that has been resumed.
  if (state == PAID or state == CANCELLING) and attempt < line_attempt then return SUPERSEDED, state, line_attempt end
  if state == PAID then return ACCEPTED, CANCELLING, attempt end
  if state == CANCELLING then return ACCEPTED + REPEATED, state, attempt end
  if state == OUT then return ALREADY_OUTBOUND, state, line_attempt end
  return (state == REFUNDED and CANCELLED_PAID or ACCEPTED) + REPEATED, state, line_attempt
end

local function resume(state, line_attempt, attempt)
  if state == CANCELLING then
    if attempt < line_attempt then return SUPERSEDED, state, line_attempt end
    return ACCEPTED, PAID, attempt
  end
  if state == PAID then return ACCEPTED + REPEATED, state, math.max(line_attempt, attempt) end
  if state == OUT then return ALREADY_OUTBOUND, state, line_attempt end
  if state == CANCELLED or state == REFUNDED then return LINE_CANCELLED, state, line_attempt end
  return ACCEPTED + REPEATED, state, line_attempt
end

local function outbound(partition, i, c, pool, held, state, line_attempt)
  if state == OUT then return ACCEPTED + REPEATED, state, line_attempt end
  if partition.format > 1 then
    return ACCEPTED, OUT, line_attempt, take_outbound_units(partition, i, c, pool, held, state)
  end
  local all, base = partition.balances, 5 * c - 5
  if state == CANCELLED or state == REFUNDED then return LINE_CANCELLED, state, line_attempt end
  if state == EXPIRED or state == UNPAID then return HOLD_EXPIRED, state, line_attempt end
  if state == HELD then return NOT_PAID, state, line_attempt end
  if pool == PRESALE and all[base + SELLABLE] < held then return INSUFFICIENT_SELLABLE, state, line_attempt end
  if pool == SELLABLE and all[base + COMMITTED] < held then return INSUFFICIENT_UNITS, state, line_attempt end
  transfer(partition, c, pool == PRESALE and SELLABLE or COMMITTED, OUTSIDE, held)
  return ACCEPTED, OUT, line_attempt
end

local function change_line(partition, i, kind, c, pool, held, state, line_attempt, attempt, by_order_service)
  if kind == PAY then
    return pay(partition, c, pool, held, state, line_attempt, attempt)
  elseif kind == OUTBOUND then
    return outbound(partition, i, c, pool, held, state, line_attempt)
  elseif kind == CANCEL then
    return cancel(partition, i, c, pool, held, state, line_attempt, attempt, by_order_service)
  elseif kind == ABORT then
    if state ~= HELD or line_attempt > attempt then return SUPERSEDED, state, line_attempt end
    return_units(partition, c, pool, RESERVED, held)
    return ACCEPTED, NONE, attempt
  elseif kind == UNPAY then
    if state ~= PAID or line_attempt > attempt then return SUPERSEDED, state, line_attempt end
    if pool == SELLABLE and partition.balances[5 * c - 5 + COMMITTED] < held then
      return INSUFFICIENT_UNITS, state, line_attempt
    end
    return_units(partition, c, pool, COMMITTED, held)
    return ACCEPTED, UNPAID, attempt
  elseif kind == SUSPEND then
    return suspend(state, line_attempt, attempt)
  end
  return resume(state, line_attempt, attempt)
end

-- The line's order has been accepted as a whole: from now on the line counts as demand, at the time of its deduction.
-- That is as long before the hold's end as the hold was. The line's present state makes no difference. Returns the
-- outcome.
local function accept_line(partition, byte, expires, hold_ms)
  if not has_mark(byte, UNCOUNTED) then return ACCEPTED + REPEATED end
  local deducted = partition.deducted
  -- When the line has had missing units, the hold's end is not known any more.
  local deducted_ms = expires <= 0 and partition.clock or math.min(partition.clock, expires - hold_ms)
  deducted[#deducted + 1] = struct.pack('<d', math.max(0, deducted_ms))
  return ACCEPTED
end

-- Command i, about a line reserved before. Returns the outcome, the line's state with its mark, whether the command has
-- changed the line's state, and the line's missing units.
local function decide_line(
  partition, i, kind, id, day, c, command_byte, amount, attempt, hold_ms, record, name, is_in_window)
  local was_kind, was_outcome, was_state, byte, line_attempt, expires, held
  if record then
    was_kind, was_outcome, was_state, byte, line_attempt, expires, held = struct.unpack(HEADER, record)
  end
  if not record or was_kind ~= RESERVE or was_outcome ~= ACCEPTED or was_state == NONE then
    if kind ~= ABORT then return UNKNOWN_LINE, NONE, false end
    abort_nothing(partition, id, day, command_byte, amount, attempt, record, name, is_in_window)
    return ACCEPTED + REPEATED, NONE, false, 0
  end
  local mark, pool = has_mark(byte, UNCOUNTED) and IS_UNCOUNTED or 0, byte % POOL_CODES
  local by_order_service = has_mark(command_byte, OF_ORDER)
  -- A process that does not yet use the deployment's new format sends no marks: it is refused here.
  if has_mark(byte, OF_ORDER) and not by_order_service and partition.format > 1 then
    return ORDER_LINE, was_state + mark, false, 0
  end
  if held ~= amount or command_byte % POOL_CODES ~= pool or string.sub(record, NAME_AT) ~= name then
    return LINE_MISMATCH, was_state + mark, false, 0
  end
  if kind == ACCEPT then
    local outcome = accept_line(partition, byte, expires, hold_ms)
    if outcome ~= ACCEPTED then return outcome, was_state, false, 0 end
    put_record(partition, id, day, was_kind, was_outcome, was_state, byte - UNCOUNTED, line_attempt, expires, held,
      fingerprint_of(record), name)
    return outcome, was_state, true, 0
  end
  local outcome, state, newest, missing =
    change_line(partition, i, kind, c, pool, held, was_state, line_attempt, attempt, by_order_service)
  local had_end = not holds_units(was_state) and expires >= 0
  if missing then expires = missing > 0 and -missing or math.max(0, expires) end
  -- A line of a retired day is kept for some time after its end.
  if expires >= 0 and partition.format > 1 and day <= (partition.retired_day or -1) and not had_end
    and not holds_units(state) then
    expires = partition.clock
  end
  if state ~= was_state or newest ~= line_attempt then
    put_record(partition, id, day, was_kind, was_outcome, state, with_owner(byte, command_byte), newest, expires, held,
      fingerprint_of(record), name)
  end
  if was_state == HELD and state ~= HELD then end_hold(partition, id) end
  local reports_missing = (state == OUT or state == REFUNDED) and outcome % REPEATED <= CANCELLED_PAID
  return outcome, state == NONE and NONE or state + mark, state ~= was_state,
    reports_missing and expires < 0 and -expires or 0
end
