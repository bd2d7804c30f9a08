#!lua flags=no-writes
-- Reads that see one moment: a script that only reads is run when Redis is full, where a transaction is refused
-- whatever is in it; an audit has to work just then. It is no function, for a Redis that is full loads no library
-- either.
-- KEYS: the keys, each once
-- ARGV: for each command: its name (hget, hmget, zscore), the number of its key, how many fields, the fields
-- Returns: the reply to each command

local CHUNK = 2000 -- unpack fails near 8,000 values
local replies, at = {}, 1
while at <= #ARGV do
  local command, key, first = ARGV[at], KEYS[tonumber(ARGV[at + 1])], at + 3
  local last = first + tonumber(ARGV[at + 2]) - 1
  local reply
  if command == 'hmget' then
    reply = {}
    for from = first, last, CHUNK do
      local part = redis.call('HMGET', key, unpack(ARGV, from, math.min(from + CHUNK - 1, last)))
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
