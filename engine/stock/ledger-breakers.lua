-- Breakers: one that is open or half-open refuses new reservations in its scope (R14). A part of ledger.lua.

-- From this format on an entry of a breaker is one event, and breakers may be half-open.
local BREAKER_EVENTS_FORMAT = 3

-- Whether a breaker stays when its time is over.
local function ends_half_open(breaker)
  return breaker.atEnd == 'half_open'
end

-- The stored name of a location's or a SKU's scope, of the cell with this name.
local function location_scope(name)
  return 'location:' .. string.sub(name, string.find(name, '\31', 1, true) + 1)
end
local function sku_scope(name)
  return 'sku:' .. string.sub(name, 1, string.find(name, '\31', 1, true) - 1)
end

-- The scopes that cells are in, each once.
local function scopes_of(names)
  local scopes, seen = { 'shop' }, {}
  for _, name in ipairs(names) do
    for _, scope in ipairs({ location_scope(name), sku_scope(name) }) do
      if not seen[scope] then scopes[#scopes + 1], seen[scope] = scope, true end
    end
  end
  return scopes
end

-- When each breaker that cells are in stops refusing, by scope (0: not by itself); nil when no breaker is open. More
-- breakers than cells are not read all: a call costs what its cells cost, however many breakers are open.
local function breakers_of(partition, names)
  if partition.open_breakers == 0 then return nil end
  local breakers = {}
  local function add(scope, text)
    local breaker = cjson.decode(text)
    breakers[scope] = ends_half_open(breaker) and 0 or tonumber(breaker.untilMs)
  end
  if partition.open_breakers <= #names then
    local fields = redis.call('HGETALL', partition.breakers_key)
    for i = 1, #fields, 2 do add(fields[i], fields[i + 1]) end
    return breakers
  end
  local scopes = scopes_of(names)
  for first = 1, #scopes, CHUNK do
    local last = math.min(first + CHUNK - 1, #scopes)
    local texts = redis.call('HMGET', partition.breakers_key, unpack(scopes, first, last))
    for i = 1, #texts do
      if texts[i] then add(scopes[first + i - 1], texts[i]) end
    end
  end
  return breakers
end

-- Whether a breaker refuses reservations at a cell.
local function is_refused(breakers, now, name)
  for _, scope in ipairs({ 'shop', location_scope(name), sku_scope(name) }) do
    local until_ms = breakers[scope]
    if until_ms and (until_ms == 0 or until_ms > now) then return true end
  end
  return false
end

-- JSON of an object from names and encoded values; a name without a value is left out. It is not encoded as a whole:
-- cjson would write times with an exponent.
local function object_of(...)
  local parts = {}
  for i = 1, select('#', ...), 2 do
    local name, value = select(i, ...)
    if value then parts[#parts + 1] = '"' .. name .. '":' .. value end
  end
  return '{' .. table.concat(parts, ',') .. '}'
end

-- JSON of a text or of evidence; nil of nil.
local function encoded(value)
  return value and cjson.encode(value)
end

-- Stores a breaker. `open_state` is 'open' or 'half_open'.
local function put_breaker(partition, scope, open_state, breaker)
  local text = object_of('untilMs', digits(breaker.untilMs), 'sinceMs', digits(breaker.sinceMs),
    'actor', cjson.encode(breaker.actor), 'reason', cjson.encode(breaker.reason),
    'onBehalfOf', encoded(breaker.onBehalfOf), 'version', breaker.version and digits(breaker.version),
    'atEnd', encoded(breaker.atEnd), 'state', open_state == 'half_open' and '"half_open"',
    'evidence', encoded(breaker.evidence), 'changeId', encoded(breaker.changeId))
  partition.open_breakers = partition.open_breakers + redis.call('HSET', partition.breakers_key, scope, text)
end

-- Deletes a breaker; returns whether there was one.
local function remove_breaker(partition, scope)
  if redis.call('HDEL', partition.breakers_key, scope) == 0 then return false end
  partition.open_breakers = partition.open_breakers - 1
  return true
end

-- Logs a change. `action` is 'open', 'half_open' or 'close'; `extended` whether it was open before.
local function log_breaker(partition, scope, action, cause, until_ms, version, at_end, extended)
  if partition.format < BREAKER_EVENTS_FORMAT then
    append(partition, 0, 't', digits(partition.clock), 'c', scope, 'j', cjson.encode({
      action = action, actor = cause.actor, onBehalfOf = cause.onBehalfOf, reason = cause.reason,
    }))
    return
  end
  append(partition, 1, 't', digits(partition.clock), 'c', scope, 'j', object_of('action', cjson.encode(action),
    'actor', cjson.encode(cause.actor), 'onBehalfOf', encoded(cause.onBehalfOf), 'reason', cjson.encode(cause.reason),
    'untilMs', action == 'open' and digits(until_ms), 'version', version and digits(version),
    'atEnd', action == 'open' and encoded(at_end), 'evidence', encoded(cause.evidence),
    'extended', extended and 'true'))
end

-- Whether a breaker is stored as open, not half-open.
local function is_stored_open(partition, scope)
  local text = redis.call('HGET', partition.breakers_key, scope)
  return text and cjson.decode(text).state ~= 'half_open' or false
end

local TIME_IS_OVER = { actor = 'engine', reason = 'its time is over' }

-- Makes a breaker whose time is over half-open. Who opened it, and why, stays.
local function half_open_at_end(partition, scope, breaker)
  breaker.sinceMs, breaker.untilMs, breaker.atEnd = breaker.untilMs, 0, nil
  put_breaker(partition, scope, 'half_open', breaker)
  log_breaker(partition, scope, 'half_open', TIME_IS_OVER, 0, breaker.version)
end

-- Closes breakers whose time is over, or makes them half-open, in the order of their names.
local function end_due_breakers(partition)
  local fields = redis.call('HGETALL', partition.breakers_key)
  local scopes, texts = {}, {}
  for i = 1, #fields, 2 do scopes[#scopes + 1], texts[fields[i]] = fields[i], fields[i + 1] end
  table.sort(scopes)
  for _, scope in ipairs(scopes) do
    local breaker = cjson.decode(texts[scope])
    -- While clocks disagree the present is not known, and the log's clock may be far ahead of it.
    if not partition.refused_by and breaker.untilMs > 0 and breaker.untilMs <= present(partition) then
      if ends_half_open(breaker) then
        half_open_at_end(partition, scope, breaker)
      else
        remove_breaker(partition, scope)
        log_breaker(partition, scope, 'close', TIME_IS_OVER, 0, breaker.version)
      end
    end
  end
end

-- stock_apply_breaker: opens, half-opens or closes a breaker in one partition.
-- KEYS: head, cells, holds, breakers, log
-- ARGV: 1 clock (see time_of), 2 scope, 3 'open', 'half_open' or 'close', 4 JSON {actor, onBehalfOf, reason, evidence,
--         changeId},
--       5 version, 6 since when, 7 until when (0: until it is changed by hand), 8 the deployment's format,
--       9 'half_open' when it becomes so when its time is over, else ''
-- Returns: the last offset, or nil when nothing was to be done: it was not open, this version or a newer one has been
--          applied, or its time is over
local function apply_breaker(keys, args)
  local partition = open_partition(keys, '', 0, 0, tonumber(args[8]))
  set_clock(partition, args[1])
  local scope, action, breaker = args[2], args[3], cjson.decode(args[4])
  breaker.version, breaker.sinceMs, breaker.untilMs = tonumber(args[5]), tonumber(args[6]), tonumber(args[7])
  if args[9] ~= '' then breaker.atEnd = args[9] end
  -- `gate:<scope>` is the stored name of the applied version.
  if breaker.version <= (tonumber(redis.call('HGET', partition.head_key, 'gate:' .. scope)) or 0) then return false end
  redis.call('HSET', partition.head_key, 'gate:' .. scope, digits(breaker.version))
  -- As in end_due_breakers: while clocks disagree it may be too early, so it opens, and a later tick ends it.
  if not partition.refused_by and action == 'open' and breaker.untilMs > 0
    and breaker.untilMs <= present(partition) then
    action = ends_half_open(breaker) and 'end' or 'close'
  end
  if action == 'end' then
    half_open_at_end(partition, scope, breaker)
  elseif action == 'close' then
    if not remove_breaker(partition, scope) then return false end
    log_breaker(partition, scope, action, breaker, 0, breaker.version)
  else
    local extended = action == 'open' and is_stored_open(partition, scope)
    put_breaker(partition, scope, action, breaker)
    log_breaker(partition, scope, action, breaker, breaker.untilMs, breaker.version, breaker.atEnd, extended)
  end
  save_head(partition)
  return digits(partition.offset)
end

-- stock_set_breaker: records the desired state of a breaker before any partition applies it. Its version is the time,
-- or one more than the last version: so versions grow even when this server has lost the last ones. Repeating the
-- newest change of a breaker (the same changeId) changes nothing and returns what is recorded.
-- KEYS: desired states of breakers
-- ARGV: 1 clock (see time_of), 2 scope, 3 'open', 'half_open' or 'close', 4 JSON {actor, onBehalfOf, reason, forMs,
--       atEnd, evidence, changeId} (forMs 0: until it is changed by hand; atEnd 'half_open', or left out: it closes at
--       its end), 5 the newest version that the caller has read: a later one refuses the change; '': any
-- Returns: JSON {action, version, sinceMs, untilMs, actor, reason, onBehalfOf, atEnd, evidence, changeId}; nil when
--          there is a later version
local function set_breaker(keys, args)
  local now = time_of(args[1])
  local cause, version = cjson.decode(args[4]), now
  local recorded = redis.call('HGET', keys[1], args[2])
  if recorded then
    local newest = cjson.decode(recorded)
    if cause.changeId and newest.changeId == cause.changeId then return recorded end
    if args[5] ~= '' and newest.version > tonumber(args[5]) then return false end
  end
  -- The server may have lost the version that the caller has read.
  if args[5] ~= '' then version = math.max(version, tonumber(args[5]) + 1) end
  local all = redis.call('HGETALL', keys[1])
  for i = 1, #all, 2 do
    local desired = cjson.decode(all[i + 1])
    version = math.max(version, desired.version + 1)
    -- All partitions have applied it long ago, or have closed it by its time. One that becomes half-open does not end.
    local ended = desired.action == 'close' and desired.sinceMs or ends_half_open(desired) and 0 or desired.untilMs
    if ended > 0 and ended + DESIRED_KEPT_MS < now then redis.call('HDEL', keys[1], all[i]) end
  end
  local text = object_of('action', cjson.encode(args[3]), 'version', digits(version), 'sinceMs', digits(now),
    'untilMs', digits(cause.forMs > 0 and now + cause.forMs or 0), 'actor', cjson.encode(cause.actor),
    'reason', cjson.encode(cause.reason), 'onBehalfOf', encoded(cause.onBehalfOf), 'atEnd', encoded(cause.atEnd),
    'evidence', encoded(cause.evidence), 'changeId', encoded(cause.changeId))
  redis.call('HSET', keys[1], args[2], text)
  return text
end
