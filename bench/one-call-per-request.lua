-- The peer of the ledger's benchmark: one reservation a call, as a shop would write it. Remembers the id, checks,
-- deducts, appends an entry.
-- KEYS: balances of the SKU, log, ids   ARGV: id, units
-- Returns: 1 reserved, 0 not enough, 2 known already
if redis.call('HSETNX', KEYS[3], ARGV[1], ARGV[2]) == 0 then return 2 end
local left = tonumber(redis.call('HGET', KEYS[1], 'sellable') or '0')
if left < tonumber(ARGV[2]) then return 0 end
redis.call('HINCRBY', KEYS[1], 'sellable', -ARGV[2])
redis.call('HINCRBY', KEYS[1], 'reserved', ARGV[2])
redis.call('XADD', KEYS[2], '*', 'id', ARGV[1], 'sku', KEYS[1], 'units', ARGV[2])
return 1
