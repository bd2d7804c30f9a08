#!lua name=shuiwei_orders
-- The order book's writes: remembers an order's lines under its id and numbers the tries at placing it and at paying for it.

-- attempt, fingerprint; the order's lines follow as they came.
local ORDER = '<I4d'

-- order_open: for each order, remembers it or finds it again.
-- KEYS: buckets of the UTC days that the ids carry
-- ARGV: 1 seconds to keep a bucket (0: for good), then for each order: number of its bucket, id, fingerprint, lines
-- Returns: for each order, which attempt this is (from 1), or -1 when the id came with another body before
local function open(keys, args)
  local attempts = {}
  for at = 2, #args, 4 do
    local key, id, print, lines = keys[tonumber(args[at])], args[at + 1], tonumber(args[at + 2]), args[at + 3]
    local known = redis.call('HGET', key, id)
    local attempt = 1
    if known then
      local before, first_print = struct.unpack(ORDER, known)
      attempt = first_print == print and before + 1 or -1
    end
    if attempt > 0 then redis.call('HSET', key, id, struct.pack(ORDER, attempt, print) .. lines) end
    attempts[#attempts + 1] = attempt
  end
  if args[1] ~= '0' then
    for i = 1, #keys do redis.call('EXPIRE', keys[i], args[1], 'NX') end
  end
  return attempts
end

-- order_try: numbers another try at an order.
-- KEYS: the bucket of its day   ARGV: id
-- Returns: the number and the order's lines, or nil when the order is not known
local function try(keys, args)
  local known = redis.call('HGET', keys[1], args[1])
  if not known then return false end
  local attempt, print, after = struct.unpack(ORDER, known)
  local lines = string.sub(known, after)
  redis.call('HSET', keys[1], args[1], struct.pack(ORDER, attempt + 1, print) .. lines)
  return { attempt + 1, lines }
end

redis.register_function('order_open', open)
redis.register_function('order_try', try)
