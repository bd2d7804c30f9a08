-- Names this run of this server, to detect that a server may have lost its newest writes: it has restarted (the process
-- id of Redis changes) or has taken over from another (the replication id changes). The replication id also changes
-- without a loss: when a primary's first replica connects, as each backup does, and some time after the last one has
-- left. Such a change sets no second id; a take-over does. Included in libraries by library.ts.

-- Constant while these functions are loaded.
local server_process

-- Returns: a text of three parts with colons between: the process, its replication id, and 1 when a changed id means no
-- loss
local function this_run()
  server_process = server_process or string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local info = redis.call('INFO', 'replication')
  local never_took_over = string.find(info, 'role:master', 1, true) and string.find(info, 'master_replid2:0+%s')
  return server_process .. ':' .. string.match(info, 'master_replid:(%x+)') .. ':' .. (never_took_over and '1' or '0')
end

-- Whether a server whose run was `known` has lost no data until the run `now`. The same rule as isSameRun in commit.ts.
local function is_same_run(known, now)
  local process, id = string.match(known, '^(%x+):(%x+):')
  local process_now, id_now, keeps = string.match(now, '^(%x+):(%x+):(%d)')
  return process == process_now and (id == id_now or keeps == '1')
end
