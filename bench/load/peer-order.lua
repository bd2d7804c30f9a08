-- The peer of the HTTP benchmark: an order in one script call, as a shop would write it. Remembers the id, checks
-- every line, then deducts.
-- KEYS: ids, then the balances of each line's SKU   ARGV: id, then each line's units
-- Returns: 1 reserved, 0 not enough, 2 known already
if redis.call('HSETNX', KEYS[1], ARGV[1], 1) == 0 then return 2 end
for i = 2, #KEYS do
  if tonumber(redis.call('HGET', KEYS[i], 'sellable') or '0') < tonumber(ARGV[i]) then
    redis.call('HDEL', KEYS[1], ARGV[1])
    return 0
  end
end
for i = 2, #KEYS do
  redis.call('HINCRBY', KEYS[i], 'sellable', -ARGV[i])
  redis.call('HINCRBY', KEYS[i], 'reserved', ARGV[i])
end
return 1
