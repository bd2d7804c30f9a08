-- Breakers: an open one refuses new reservations in its scope (R14). A part of ledger.lua.

-- When each open breaker closes, by scope; nil when none is open.
local function breakers_of(partition)
  if partition.open_breakers == 0 then return nil end
  local fields = redis.call('HGETALL', partition.breakers_key)
  local breakers = {}
  for i = 1, #fields, 2 do breakers[fields[i]] = tonumber(cjson.decode(fields[i + 1]).untilMs) end
  return breakers
end

-- Whether a breaker refuses reservations at a cell.
local function is_refused(breakers, now, name)
  local at = string.find(name, '\31', 1, true)
  for _, scope in ipairs({ 'shop', 'location:' .. string.sub(name, at + 1), 'sku:' .. string.sub(name, 1, at - 1) }) do
    local until_ms = breakers[scope]
    if until_ms and (until_ms == 0 or until_ms > now) then return true end
  end
  return false
end

-- Closes breakers whose time is over.
local function close_due_breakers(partition)
  local fields = redis.call('HGETALL', partition.breakers_key)
  for i = 1, #fields, 2 do
    local breaker = cjson.decode(fields[i + 1])
    -- While clocks disagree the present is not known, and the log's clock may be far ahead of it.
    if not partition.refused_by and breaker.untilMs > 0 and breaker.untilMs <= present(partition) then
      redis.call('HDEL', partition.breakers_key, fields[i])
      partition.open_breakers = partition.open_breakers - 1
      append(partition, 0, 't', digits(partition.clock), 'c', fields[i],
        'j', cjson.encode({ action = 'close', actor = 'engine', reason = 'its time is over' }))
    end
  end
end

-- stock_apply_breaker: opens or closes a breaker in one partition.
-- KEYS: head, cells, holds, breakers, log
-- ARGV: 1 clock (see time_of), 2 scope, 3 'open' or 'close', 4 JSON {actor, onBehalfOf, reason}, 5 version, 6 since
--       when, 7 until when (0: until it is closed by hand)
-- Returns: the last offset, or nil when nothing was to be done: it was not open, this version or a newer one has been
--          applied, or its time is over
local function apply_breaker(keys, args)
  local partition = open_partition(keys, '', 0, 0, 1)
  set_clock(partition, args[1])
  local scope, cause, version, until_ms = args[2], cjson.decode(args[4]), tonumber(args[5]), tonumber(args[7])
  -- `gate:<scope>` is the stored name of the applied version.
  if version <= (tonumber(redis.call('HGET', partition.head_key, 'gate:' .. scope)) or 0) then return false end
  redis.call('HSET', partition.head_key, 'gate:' .. scope, digits(version))
  local opens = args[3] == 'open' and (until_ms == 0 or until_ms > present(partition))
  if opens then
    -- Not encoded as a whole: cjson would write times with an exponent.
    local behalf = cause.onBehalfOf and ',"onBehalfOf":' .. cjson.encode(cause.onBehalfOf) or ''
    local text = string.format('{"untilMs":%s,"sinceMs":%s,"actor":%s,"reason":%s%s,"version":%s}', digits(until_ms),
      digits(tonumber(args[6])), cjson.encode(cause.actor), cjson.encode(cause.reason), behalf, digits(version))
    partition.open_breakers = partition.open_breakers + redis.call('HSET', partition.breakers_key, scope, text)
  elseif redis.call('HDEL', partition.breakers_key, scope) == 0 then
    return false
  else
    partition.open_breakers = partition.open_breakers - 1
  end
  append(partition, 0, 't', digits(partition.clock), 'c', scope, 'j', cjson.encode({
    action = opens and 'open' or 'close', actor = cause.actor, onBehalfOf = cause.onBehalfOf, reason = cause.reason,
  }))
  save_head(partition)
  return digits(partition.offset)
end

-- stock_set_breaker: records the desired state of a breaker before any partition applies it. Its version is the time,
-- or one more than the last version: so versions grow even when this server has lost the last ones.
-- KEYS: desired states of breakers
-- ARGV: 1 clock (see time_of), 2 scope, 3 'open' or 'close', 4 JSON {actor, onBehalfOf, reason, forMs} (forMs 0: until
--       it is closed by hand)
-- Returns: JSON {action, version, sinceMs, untilMs, actor, onBehalfOf, reason}
local function set_breaker(keys, args)
  local now = time_of(args[1])
  local cause, version = cjson.decode(args[4]), now
  local all = redis.call('HGETALL', keys[1])
  for i = 1, #all, 2 do
    local desired = cjson.decode(all[i + 1])
    version = math.max(version, desired.version + 1)
    -- All partitions have applied it long ago, or have closed it by its time.
    local ended = desired.action == 'close' and desired.sinceMs or desired.untilMs
    if ended > 0 and ended + DESIRED_KEPT_MS < now then redis.call('HDEL', keys[1], all[i]) end
  end
  local behalf = cause.onBehalfOf and ',"onBehalfOf":' .. cjson.encode(cause.onBehalfOf) or ''
  local text = string.format('{"action":%s,"version":%s,"sinceMs":%s,"untilMs":%s,"actor":%s,"reason":%s%s}',
    cjson.encode(args[3]), digits(version), digits(now), digits(cause.forMs > 0 and now + cause.forMs or 0),
    cjson.encode(cause.actor), cjson.encode(cause.reason), behalf)
  redis.call('HSET', keys[1], args[2], text)
  return text
end
