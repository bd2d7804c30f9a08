#!lua name=shuiwei_stream
-- The runtime's own writes: the lease of a partition, and the fenced commit of its jobs' results. An owner holds a
-- lease until it expires. The next owner raises the epoch, and from then on every write under an older epoch is
-- rejected (STALE_EPOCH), so an owner that was frozen can do no harm. A commit is applied as a whole or not at all;
-- sent again it is recognised by its number. A server that has restarted, or has taken over from another, may have
-- lost the newest writes: an owner that has read from its predecessor is rejected, too (STALE_RUN), and reads again.
-- A clock argument of '' is this server's clock.

local CHUNK = 2000

-- The given time, or this server's.
local function clock_of(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function digits(n)
  return string.format('%.0f', n)
end

-- include server-run.lua
-- include server-time.lua

-- Returns: the sum of what the calls return
local function call_chunked(command, key, list)
  local sum = 0
  for from = 1, #list, CHUNK do
    sum = sum + redis.call(command, key, unpack(list, from, math.min(from + CHUNK - 1, #list)))
  end
  return sum
end

-- task_acquire: takes the lease of a partition's task when it is free, unless the task has states of a newer version.
-- KEYS: task   ARGV: 1 owner, 2 lease in ms, 3 clock; then for each job: the field of its version, the owner's version
-- Returns: {1, all fields of the task, this run} with the epoch raised, {0, ms until the present lease ends}, or
--          {2, field, version} for a job whose version there is newer
local function acquire(keys, args)
  local now = clock_of(args[3])
  local held = redis.call('HMGET', keys[1], 'owner', 'until', 'epoch')
  local lease = tonumber(args[2])
  local left = (tonumber(held[2]) or 0) - now
  if left > lease then
    -- No lease is longer, so this server's clock was set back: shorten it. A running owner renews it; that of a dead
    -- owner expires.
    redis.call('HSET', keys[1], 'until', digits(now + lease))
    left = lease
  end
  if held[1] and held[1] ~= args[1] and left > 0 then return { 0, left } end
  for i = 4, #args, 2 do
    local version = redis.call('HGET', keys[1], args[i])
    if version and tonumber(version) > tonumber(args[i + 1]) then return { 2, args[i], version } end
  end
  redis.call('HSET', keys[1], 'owner', args[1], 'until', digits(now + lease), 'epoch', (tonumber(held[3]) or 0) + 1)
  return { 1, redis.call('HGETALL', keys[1]), this_run() }
end

-- task_read: the task as it stands. KEYS: task   Returns: {all its fields, this run}
local function read(keys)
  return { redis.call('HGETALL', keys[1]), this_run() }
end

-- The error for a caller that is not the owner any more, or has read from another server; nil for the owner.
local function refusal(epoch, fence_epoch, fence_run)
  if epoch ~= fence_epoch then return redis.error_reply('STALE_EPOCH another owner has taken over') end
  if not is_same_run(fence_run, this_run()) then return redis.error_reply('STALE_RUN the server has restarted') end
end

-- task_renew: extends the lease. KEYS: task   ARGV: 1 epoch, 2 run, 3 lease in ms, 4 clock
local function renew(keys, args)
  local refused = refusal(redis.call('HGET', keys[1], 'epoch'), args[1], args[2])
  if refused then return refused end
  redis.call('HSET', keys[1], 'until', digits(clock_of(args[4]) + tonumber(args[3])))
  return 1
end

-- task_release: ends the lease, so that the next owner need not wait. KEYS: task   ARGV: 1 epoch
local function release(keys, args)
  if redis.call('HGET', keys[1], 'epoch') ~= args[1] then return 0 end
  redis.call('HSET', keys[1], 'until', 0)
  return 1
end

-- workers_leave: removes a worker. KEYS: workers   ARGV: 1 its name, 2 clock
-- Returns: the names of the workers that are registered still
local function leave(keys, args)
  redis.call('ZREM', keys[1], args[1])
  return redis.call('ZRANGEBYSCORE', keys[1], '(' .. digits(clock_of(args[2])), '+inf')
end

-- workers_join: registers a worker for a time. KEYS: workers   ARGV: 1 its name, 2 for how long in ms, 3 clock
-- Returns: the names of all registered workers
local function join(keys, args)
  local now = clock_of(args[3])
  local longest = digits(now + tonumber(args[2]))
  -- No registration is longer: this server's clock was set back.
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', keys[1], '(' .. longest, '+inf')) do redis.call('ZADD', keys[1], longest, name) end
  redis.call('ZADD', keys[1], longest, args[1])
  redis.call('ZREMRANGEBYSCORE', keys[1], '-inf', digits(now))
  return redis.call('ZRANGE', keys[1], 0, -1)
end

-- Dead letters: a stream (fields d: the dead letter; o: the name of its entry, when it has one; v: how many deliveries
-- it holds, for one of a sink that fell too far behind) and a hash of those entries, each stored once: 'r:<name>' its
-- bytes, 'n:<name>' how many dead letters need it, 'bytes' the total size. The hash also has what those with v come to:
-- 'overflow' their number, 'overflowBytes', 'overflowDeliveries'. Such an entry belongs to one dead letter.
local function count_overflow(entries_key, entry, deliveries, sign)
  local bytes = redis.call('HSTRLEN', entries_key, 'r:' .. entry)
  redis.call('HINCRBY', entries_key, 'overflow', sign)
  redis.call('HINCRBY', entries_key, 'overflowBytes', digits(sign * bytes))
  redis.call('HINCRBY', entries_key, 'overflowDeliveries', digits(sign * tonumber(deliveries)))
end

local function add_dead_letter(letters_key, entries_key, dead_letter, entry, deliveries)
  if entry == '' then
    redis.call('XADD', letters_key, '*', 'd', dead_letter)
  elseif deliveries ~= '' then
    redis.call('XADD', letters_key, '*', 'd', dead_letter, 'o', entry, 'v', deliveries)
    redis.call('HINCRBY', entries_key, 'n:' .. entry, 1)
  else
    redis.call('XADD', letters_key, '*', 'd', dead_letter, 'o', entry)
    redis.call('HINCRBY', entries_key, 'n:' .. entry, 1)
  end
end

local function add_dead_entry(entries_key, entry, bytes)
  if redis.call('HSETNX', entries_key, 'r:' .. entry, bytes) == 1 then redis.call('HINCRBY', entries_key, 'bytes', #bytes) end
end

-- Removes a dead letter, and its entry when no other dead letter needs it. Returns 1, or 0 when it did not exist.
local function remove_dead_letter(letters_key, entries_key, id)
  local found = redis.call('XRANGE', letters_key, id, id)[1]
  if not found then return 0 end
  redis.call('XDEL', letters_key, id)
  local entry = found[2][4]
  if found[2][5] == 'v' then count_overflow(entries_key, entry, found[2][6], -1) end
  if entry and redis.call('HINCRBY', entries_key, 'n:' .. entry, -1) <= 0 then
    local bytes = redis.call('HSTRLEN', entries_key, 'r:' .. entry)
    redis.call('HDEL', entries_key, 'r:' .. entry, 'n:' .. entry)
    if redis.call('HINCRBY', entries_key, 'bytes', -bytes) <= 0 then redis.call('DEL', entries_key) end
  end
  return 1
end

-- dead_letters_remove: removes dead letters and the requests to replay them.
-- KEYS: dead letters, dead entries, dead requests   ARGV: their ids   Returns: 1 or 0 for each: whether it existed
local function remove_dead_letters(keys, args)
  local removed = {}
  for i, id in ipairs(args) do
    removed[i] = remove_dead_letter(keys[1], keys[2], id)
    redis.call('ZREM', keys[3], id)
  end
  return removed
end

-- dead_letters_trim: removes dead letters above an age, the oldest first.
-- KEYS: dead letters, dead entries, dead requests
-- ARGV: 1 the age in ms, by this server's clock, 2 how many at most, 3 the caller's clock, as in server-time.lua
-- Returns: how many; 0 while the clocks differ
local function trim_dead_letters(keys, args)
  local now, agrees = time_of(args[3])
  if not agrees then return 0 end
  local before = digits(now - tonumber(args[1]))
  local old = redis.call('XRANGE', keys[1], '-', '(' .. before .. '-0', 'COUNT', args[2])
  for _, dead_letter in ipairs(old) do
    remove_dead_letter(keys[1], keys[2], dead_letter[1])
    redis.call('ZREM', keys[3], dead_letter[1])
  end
  return #old
end

-- dead_letters_record: records what is done with dead letters, and deletes the oldest records.
-- KEYS: dead actions   ARGV: 1 about how many records are kept, then fields and values   Returns: the record's id
local function record_action(keys, args)
  return redis.call('XADD', keys[1], 'MAXLEN', '~', args[1], '*', unpack(args, 2))
end

-- sinks_register: records that a sink is run. KEYS: sinks   ARGV: 1 its name, 2 the time
local function register_sink(keys, args)
  return redis.call('HSET', keys[1], args[1], args[2])
end

-- sinks_ignore: stores which kinds of emits a sink ignores. KEYS: the sink's task   ARGV: 1 the kinds
local function ignore_kinds(keys, args)
  return redis.call('HSET', keys[1], 'unwanted', args[1])
end

-- Changes the index of a job's states. The counts are changed by the replies of ZADD and ZREM, so they always agree
-- with the sorted set.
local function change_index(index_key, counts_key, clears, names)
  if clears == '1' then redis.call('UNLINK', index_key, counts_key) end
  for i = 1, #names do
    local name, added, removed = unpack(names[i])
    local more = call_chunked('ZADD', index_key, added) - call_chunked('ZREM', index_key, removed)
    if more ~= 0 and redis.call('HINCRBY', counts_key, name, more) <= 0 then redis.call('HDEL', counts_key, name) end
  end
end

-- task_commit: writes what a batch changed.
-- KEYS: task, timers, out, dead letters, dead entries, dead requests, emits, then one state hash for each job, then
--       for each job whose index changes the index and the counts of its names, then a hash for each job and period
--       with closings
-- ARGV: 1 epoch, 2 run, 3 number of this commit, 4 lease in ms, 5 clock, 6 record for views ('' for none), 7 changes:
--       msgpack, a list of lists of texts: fields of the task (watermark, cursors, …), timers to set (score, member,
--       …), timers to remove, dead letters to add (bytes, name of the entry or '', number of deliveries or '', …),
--       their entries (name, bytes, …), dead letters to remove with their requests; for each job the arguments of
--       HSET; for each job the keys whose state is deleted; for each index that changes: '1' when it is deleted first,
--       and its names: name, entries to add (score, member, …), entries to remove; for each hash of closings: for how
--       many ms it is stored, then key, bytes or '' to remove it, …; 8 record of emits ('' for none)
-- An entry of emits also has `b`: the bytes of all such records ever written, this one included.
-- Returns: 1 when applied now, 2 when it had been applied before
local function commit(keys, args)
  if #args ~= 8 then return redis.error_reply('ERR this commit has the format of another version') end
  local task = redis.call('HMGET', keys[1], 'epoch', 'commit')
  local refused = refusal(task[1], args[1], args[2])
  if refused then return refused end
  local number, last = tonumber(args[3]), tonumber(task[2]) or 0
  if number == last then return 2 end
  if number ~= last + 1 then return redis.error_reply('COMMIT_GAP expected commit ' .. (last + 1) .. ', got ' .. number) end

  local fields, set, removed, dead, entries, resolved, states, tombstones, indexes, closings = unpack(cmsgpack.unpack(args[7]))
  local clock = clock_of(args[5])
  local now = digits(clock)
  call_chunked('ZADD', keys[2], set)
  call_chunked('ZREM', keys[2], removed)
  for i = 1, #dead, 3 do add_dead_letter(keys[4], keys[5], dead[i], dead[i + 1], dead[i + 2]) end
  for i = 1, #entries, 2 do add_dead_entry(keys[5], entries[i], entries[i + 1]) end
  for i = 1, #dead, 3 do
    if dead[i + 2] ~= '' then count_overflow(keys[5], dead[i + 1], dead[i + 2], 1) end
  end
  -- After the new ones are added: the entry of a dead letter that failed again is kept for its successor.
  for i = 1, #resolved do
    remove_dead_letter(keys[4], keys[5], resolved[i])
    redis.call('ZREM', keys[6], resolved[i])
  end
  for job = 1, #states do
    call_chunked('HSET', keys[job + 7], states[job])
    call_chunked('HDEL', keys[job + 7], tombstones[job])
  end
  for i = 1, #indexes do
    local at = 7 + #states + 2 * i
    change_index(keys[at - 1], keys[at], indexes[i][1], indexes[i][2])
  end
  for i = 1, #closings do
    local key, list = keys[7 + #states + 2 * #indexes + i], closings[i]
    for j = 2, #list, 2 do
      if list[j + 1] == '' then redis.call('HDEL', key, list[j]) else redis.call('HSETNX', key, list[j], list[j + 1]) end
    end
    redis.call('PEXPIRE', key, list[1])
  end
  if args[6] ~= '' then redis.call('XADD', keys[3], number .. '-0', 'm', now, 'r', args[6], 'e', args[1]) end
  if args[8] ~= '' then
    local bytes = redis.call('HINCRBY', keys[1], 'emitBytes', #args[8])
    redis.call('XADD', keys[7], number .. '-0', 'm', now, 'r', args[8], 'e', args[1], 'b', digits(bytes))
  end
  redis.call('HSET', keys[1], 'commit', number, 'at', now, 'until', digits(clock + tonumber(args[4])), unpack(fields))
  return 1
end

-- Allowed when Redis is full: commits, and the trimming after them, free memory, and so does a sink that delivers. The
-- records of it are small and few.
local function register(name, callback, flag)
  redis.register_function({ function_name = name, callback = callback, flags = { flag } })
end
register('task_acquire', acquire, 'allow-oom')
register('task_read', read, 'no-writes')
register('task_renew', renew, 'allow-oom')
register('task_release', release, 'allow-oom')
register('task_commit', commit, 'allow-oom')
register('workers_join', join, 'allow-oom')
register('workers_leave', leave, 'allow-oom')
register('dead_letters_remove', remove_dead_letters, 'allow-oom')
register('dead_letters_trim', trim_dead_letters, 'allow-oom')
register('dead_letters_record', record_action, 'allow-oom')
register('sinks_register', register_sink, 'allow-oom')
register('sinks_ignore', ignore_kinds, 'allow-oom')
