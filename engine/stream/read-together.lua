#!lua flags=no-writes
-- Reads that all see the same moment. A script that only reads is run even when Redis is full, where every transaction
-- is rejected; an audit must work then, too. It is not a function, because a full Redis cannot load a library.
-- KEYS: the keys, each once
-- ARGV: for each command: its name (hget, hmget, zscore, zmscore), the number of its key, how many fields, the fields
-- Returns: the reply to each command

local CHUNK = 2000 -- unpack fails near 8,000 values
local replies, at = {}, 1
while at <= #ARGV do
  local command, key, first = ARGV[at], KEYS[tonumber(ARGV[at + 1])], at + 3
  local last = first + tonumber(ARGV[at + 2]) - 1
  local reply
  if command == 'hmget' or command == 'zmscore' then
    reply = {}
    for from = first, last, CHUNK do
      local part = redis.call(command, key, unpack(ARGV, from, math.min(from + CHUNK - 1, last)))
      for i = 1, #part do reply[#reply + 1] = part[i] end
    end
  elseif command == 'hget' then
    reply = redis.call('HGET', key, ARGV[first])
  else
    reply = redis.call('ZSCORE', key, ARGV[first])
  end
  replies[#replies + 1] = reply
  at = last + 1
end
return replies
