-- The peer of the pipeline's benchmark: one transfer a call, as a shop would write it. Remembers the id and the step,
-- checks, moves, appends an entry with a field for each value.
-- KEYS: balances of the SKU, log, ids   ARGV: id and step, from, to, units, SKU, time
-- Returns: 1 moved, 0 not enough, 2 known already
if redis.call('HSETNX', KEYS[3], ARGV[1], ARGV[4]) == 0 then return 2 end
if ARGV[2] ~= 'outside' then
  local left = tonumber(redis.call('HGET', KEYS[1], ARGV[2]) or '0')
  if left < tonumber(ARGV[4]) then return 0 end
  redis.call('HINCRBY', KEYS[1], ARGV[2], -ARGV[4])
end
if ARGV[3] ~= 'outside' then redis.call('HINCRBY', KEYS[1], ARGV[3], ARGV[4]) end
redis.call('XADD', KEYS[2], '*', 'id', ARGV[1], 'sku', ARGV[5], 'from', ARGV[2], 'to', ARGV[3], 'units', ARGV[4], 'at', ARGV[6])
return 1
