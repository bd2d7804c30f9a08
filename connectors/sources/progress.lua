#!lua name=shuiwei_sources
-- What a source's pulls have stored, as one fenced write: the cells of a source of changes, and the cursors that the
-- next pull continues from. An owner under an older epoch is rejected, so a process that was frozen cannot put a cell
-- or a cursor back. Values are absolute: a write that is sent again changes nothing.

-- A cell is kept as '<version>:<units>'.
local function version_of(stored)
  return tonumber(string.match(stored, '^(%d+):'))
end

-- source_store: stores cells and cursors.
-- KEYS: 1 task, 2 cells, 3 progress
-- ARGV: 1 epoch, 2 how many cells there may be, 3 number of cursors; then field, value of each cursor;
--       then name, version, units of each cell
-- Returns: how many cells there are; -1 when there would be too many, and then nothing is stored
local function store(keys, args)
  if redis.call('HGET', keys[1], 'epoch') ~= args[1] then
    return redis.error_reply('STALE_EPOCH another owner has taken over')
  end
  local first = 4 + 2 * tonumber(args[3])
  local added = 0
  local changed = {}
  for at = first, #args, 3 do
    local stored = redis.call('HGET', keys[2], args[at])
    if not stored then added = added + 1 end
    -- Equal: a source without versions, whose newest answer counts.
    if not stored or version_of(stored) <= tonumber(args[at + 1]) then changed[#changed + 1] = at end
  end
  local cells = redis.call('HLEN', keys[2])
  if cells + added > tonumber(args[2]) then return -1 end
  for _, at in ipairs(changed) do
    redis.call('HSET', keys[2], args[at], args[at + 1] .. ':' .. args[at + 2])
  end
  for at = 4, first - 1, 2 do
    redis.call('HSET', keys[3], args[at], args[at + 1])
  end
  return redis.call('HLEN', keys[2])
end

redis.register_function('source_store', store)
