#!lua flags=no-writes
-- One page of the cells, and the log's last offset at that same moment: the balances contain exactly the events up to
-- that entry. Names and balances are each joined into one text, because a reply of thousands of values costs the client
-- more than the reading. It is run even when Redis is full, like read-together.lua.
-- KEYS: the hash of cells, the hash with the log's head
-- ARGV: the scan's cursor, about how many fields to read, the length of a cell's balances in bytes
-- Returns: the next cursor, the offset, the cells' names joined by their separator, their balances one after the other,
-- the number of all fields

local SEPARATOR = '\031'
local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local offset = redis.call('HGET', KEYS[2], 'offset') or '0'
local size, fields = tonumber(ARGV[3]), page[2]
local names, balances, n = {}, {}, 0
for i = 1, #fields, 2 do
  local name = fields[i]
  -- A name that ends in the separator is that of a SKU's list of locations.
  if string.sub(name, -1) ~= SEPARATOR then
    if #fields[i + 1] ~= size then return redis.error_reply('BADCELL ' .. name) end
    n = n + 1
    names[n] = name
    balances[n] = fields[i + 1]
  end
end
return { page[1], offset, table.concat(names, SEPARATOR), table.concat(balances),
  redis.call('HLEN', KEYS[1]) }
