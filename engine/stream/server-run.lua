-- Names this run of this server, for what must notice that a server may have lost its newest writes: it was started
-- again, or has taken over from another. Its process tells the first, its replication id the second. That id alone
-- would tell too much: a primary changes it also when its first replica comes, as each backup does, and some time after
-- the last one has gone. Such a change leaves no second id; a take-over does. Included in libraries by library.ts.

-- It is the same for as long as these functions are loaded.
local server_process

-- Returns: a text of three parts, between colons: the process, its replication id, and 1 when an id other than before
-- means no loss
local function this_run()
  server_process = server_process or string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local info = redis.call('INFO', 'replication')
  local never_took_over = string.find(info, 'role:master', 1, true) and string.find(info, 'master_replid2:0+%s')
  return server_process .. ':' .. string.match(info, 'master_replid:(%x+)') .. ':' .. (never_took_over and '1' or '0')
end

-- Whether a server that was then in the run `known` has lost nothing until `now`. As isSameRun in commit.ts.
local function is_same_run(known, now)
  local process, id = string.match(known, '^(%x+):(%x+):')
  local process_now, id_now, keeps = string.match(now, '^(%x+):(%x+):(%d)')
  return process == process_now and (id == id_now or keeps == '1')
end
