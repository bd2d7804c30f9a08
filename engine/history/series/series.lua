#!lua name=shuiwei_series
-- Writes packed points of many series in one call, under the lease of their recorder: a recorder that was frozen and
-- whose lease another has taken over is rejected, as for any commit (engine/stream/stream.lua). All keys of a call are
-- in one slot.

-- include server-run.lua

-- series_write: sets and removes fields of hashes, one hash a series.
-- KEYS: task, then the hashes
-- ARGV: 1 epoch, 2 run, 3 how long a hash is kept after this write in ms; then for each hash: number of fields to set,
--       number of fields to remove, the fields to set (name, bytes, …), the fields to remove
-- Returns: number of hashes
local function write(keys, args)
  if redis.call('HGET', keys[1], 'epoch') ~= args[1] then return redis.error_reply('STALE_EPOCH another owner has taken over') end
  if not is_same_run(args[2], this_run()) then return redis.error_reply('STALE_RUN the server has restarted') end
  local at = 4
  for key = 2, #keys do
    local set, removed = tonumber(args[at]), tonumber(args[at + 1])
    at = at + 2
    if set > 0 then redis.call('HSET', keys[key], unpack(args, at, at + 2 * set - 1)) end
    at = at + 2 * set
    if removed > 0 then redis.call('HDEL', keys[key], unpack(args, at, at + removed - 1)) end
    at = at + removed
    if set > 0 then redis.call('PEXPIRE', keys[key], args[3]) end
  end
  return #keys - 1
end

redis.register_function('series_write', write)
