-- Codes, limits and byte layouts of the ledger, and small functions that need nothing else. A part of ledger.lua. The
-- codes and layouts are stored data: they are shared with model.ts and records.ts, and are only ever added to.

-- Kinds of commands
local RECEIVE, CORRECT, MOVE, RESERVE, PAY, CANCEL, OUTBOUND, RETURN, ABORT, UNPAY, ACCEPT, SUSPEND, RESUME =
  1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15
-- Accounts: the five pools of a cell, and everything that is not in stock
local OUTSIDE, SELLABLE, RESERVED, COMMITTED, SAFETY, PRESALE = 0, 1, 2, 3, 4, 5
-- Outcomes
local ACCEPTED, ADMITTED_ANEW, CANCELLED_PAID, ID_REUSED, ID_OUTSIDE_WINDOW, SUPERSEDED, BREAKER_OPEN, UNKNOWN_SKU,
  UNKNOWN_LINE, LINE_MISMATCH, LINE_CANCELLED, NOT_PAID, ALREADY_OUTBOUND, HOLD_EXPIRED, INSUFFICIENT_SELLABLE,
  INSUFFICIENT_PRESALE, INSUFFICIENT_UNITS, LIMIT_EXCEEDED, ORDER_LINE, BALANCE_CHANGED =
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20
local REPEATED = 128 -- added to the code of an outcome that was given before
-- States of a line; REFUNDED is `cancelled_paid`
local NONE, HELD, PAID, CANCELLED, EXPIRED, OUT, REFUNDED, UNPAID, CANCELLING = 0, 1, 2, 3, 4, 5, 6, 7, 8
local IS_UNCOUNTED = 128 -- added to the code of a line's state in an answer when the line has the mark UNCOUNTED
-- The byte that names a line's pool: the pool's code is the part below POOL_CODES, the marks are above.
local POOL_CODES = 8
local OF_ORDER = 8 -- mark: the line belongs to an order; only the order service may change it
local UNCOUNTED = 16 -- mark: not yet counted as demand, because its order is not accepted as a whole (R9)

local DAY_MS = 86400000
local MAX_UNITS = 9007199254740991
local SWEEP_LIMIT = 1000 -- as in model.ts
local HOLD_MARGIN_DAYS = 4 -- as in model.ts
local DESIRED_KEPT_MS = 30 * DAY_MS -- a partition that cannot be reached for longer may miss that a breaker was closed
local CORRECTIONS_KEPT_MS = 8 * DAY_MS -- a day longer than snapshots are kept and compared
local STRIP_COUNT = 500 -- records: about a millisecond
local CHUNK = 2000 -- arguments of one Redis command; unpack fails near 8,000
local CELLS_AT_ONCE = 1000 -- five balances each, for the same reason

-- A record: header (kind, outcome, state, pool and marks, attempt, expiresAtMs, units), fingerprint (8 bytes), cell
-- name. When a line holds no units any more, a negative expiresAtMs is the number of its units that were missing.
local HEADER = '<BBBBI4dd'
local FINGERPRINT_AT, NAME_AT = 25, 33 -- first byte, counted from 1
local NO_FINGERPRINT = '\0\0\0\0\0\0\0\0'
local BALANCES, CELL_BYTES = '<ddddd', 40
local HEAD_CACHE = '<ddd' -- offset, earliest time at which a hold may be due, number of open breakers
local BASE32 = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
local ZEROS = {} -- one string as long as a list may be, made when first needed
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

-- A list with n placeholder values: filling it is several times as fast as growing an empty one.
local function list_of(n)
  if not ZEROS[1] then ZEROS[1] = string.rep('\0', CHUNK) end
  return { string.byte(ZEROS[1], 1, n) }
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

-- The pool byte of a line; it gets the mark OF_ORDER when the command has it.
local function with_owner(byte, command_byte)
  if has_mark(command_byte, OF_ORDER) and not has_mark(byte, OF_ORDER) then return byte + OF_ORDER end
  return byte
end

local function fingerprint_of(record)
  return string.sub(record, FINGERPRINT_AT, NAME_AT - 1)
end

-- Whether a line in this state holds units.
local function holds_units(state)
  return state == HELD or state == PAID or state == CANCELLING
end
