#!lua name=shuiwei_publication
-- Replaces the manifest of a publication in one step, if it is still the one that its writer has read. A writer whose
-- lease another has taken over has a lower epoch and is refused, whatever it has read.

-- publication_replace: KEYS: manifest
-- ARGV: 1 version that is expected, empty: none is stored; 2 epoch of the writer; 3 JSON text
-- Returns: the new version; empty when another one is stored, or one of a later writer
local function replace(keys, args)
  local stored = redis.call('HMGET', keys[1], 'version', 'epoch')
  local version = stored[1] or ''
  if version ~= args[1] or tonumber(stored[2] or '0') > tonumber(args[2]) then return '' end
  -- With a part of the content's hash: after a server has lost its last second, numbers come again.
  local number = tonumber(string.match(version, '^%d+') or '0') + 1
  local new = number .. '-' .. string.sub(redis.sha1hex(args[3]), 1, 16)
  redis.call('HSET', keys[1], 'version', new, 'epoch', args[2], 'json', args[3])
  return new
end

redis.register_function('publication_replace', replace)
