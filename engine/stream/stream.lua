#!lua name=shuiwei_stream
-- The runtime's own writes: who owns a partition, and the one fenced commit of what its jobs worked out. A lease is held by an owner until
-- its time is over; whoever takes it over raises the epoch, and from then on every write under an older epoch is refused (STALE_EPOCH), so a
-- stopped and woken owner can do no harm. A commit is applied as a whole or not at all; sent again it is recognised by its number.

local CHUNK = 2000

local function server_now()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function call_chunked(command, key, args, first, count)
  for from = first, first + count - 1, CHUNK do
    redis.call(command, key, unpack(args, from, math.min(from + CHUNK - 1, first + count - 1)))
  end
end

-- task_acquire: takes a partition's task when nobody holds it.
-- KEYS: task   ARGV: 1 owner, 2 lease in ms
-- Returns: {1, all fields of the task} with the epoch raised, or {0, ms until the present lease ends}
local function acquire(keys, args)
  local now = server_now()
  local held = redis.call('HMGET', keys[1], 'owner', 'until', 'epoch')
  local left = (tonumber(held[2]) or 0) - now
  if held[1] and held[1] ~= args[1] and left > 0 then return { 0, left } end
  redis.call('HSET', keys[1], 'owner', args[1], 'until', string.format('%.0f', now + tonumber(args[2])), 'epoch', (tonumber(held[3]) or 0) + 1)
  return { 1, redis.call('HGETALL', keys[1]) }
end

local function is_owner(key, epoch)
  return redis.call('HGET', key, 'epoch') == epoch
end

-- task_renew: keeps the lease. KEYS: task   ARGV: 1 epoch, 2 lease in ms
local function renew(keys, args)
  if not is_owner(keys[1], args[1]) then return redis.error_reply('STALE_EPOCH another owner has taken over') end
  redis.call('HSET', keys[1], 'until', string.format('%.0f', server_now() + tonumber(args[2])))
  return 1
end

-- task_release: gives the lease back, so that the next owner need not wait. KEYS: task   ARGV: 1 epoch
local function release(keys, args)
  if not is_owner(keys[1], args[1]) then return 0 end
  redis.call('HSET', keys[1], 'until', 0)
  return 1
end

-- task_commit: writes what a step of the jobs changed.
-- KEYS: task, timers, out, dead letters, then one state hash a job
-- ARGV: 1 epoch, 2 number of this commit, 3 lease in ms, 4 fields of the task (flat, msgpack: watermark, cursors),
--       5 out record ('' for none), 6 how many arguments set timers (score, member, …), 7 how many timers go, 8 how many dead letters; then
--       those, then for each job: how many arguments of HSET, and those
-- Returns: 1 when applied now, 2 when it had been applied before
local function commit(keys, args)
  local task = redis.call('HMGET', keys[1], 'epoch', 'commit')
  if task[1] ~= args[1] then return redis.error_reply('STALE_EPOCH another owner has taken over') end
  local number, last = tonumber(args[2]), tonumber(task[2]) or 0
  if number == last then return 2 end
  if number ~= last + 1 then return redis.error_reply('COMMIT_GAP expected commit ' .. (last + 1) .. ', got ' .. number) end

  local now = string.format('%.0f', server_now())
  local at = 9
  local set, removed, dead = tonumber(args[6]), tonumber(args[7]), tonumber(args[8])
  call_chunked('ZADD', keys[2], args, at, set)
  at = at + set
  call_chunked('ZREM', keys[2], args, at, removed)
  at = at + removed
  for i = at, at + dead - 1 do redis.call('XADD', keys[4], '*', 'd', args[i]) end
  at = at + dead
  for job = 5, #keys do
    local fields = tonumber(args[at])
    call_chunked('HSET', keys[job], args, at + 1, fields)
    at = at + 1 + fields
  end
  if args[5] ~= '' then redis.call('XADD', keys[3], number .. '-0', 'm', now, 'r', args[5]) end
  redis.call('HSET', keys[1], 'commit', number, 'until', string.format('%.0f', tonumber(now) + tonumber(args[3])), unpack(cmsgpack.unpack(args[4])))
  return 1
end

redis.register_function('task_acquire', acquire)
redis.register_function('task_renew', renew)
redis.register_function('task_release', release)
redis.register_function('task_commit', commit)
