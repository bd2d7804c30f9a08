-- Registers a library's functions under names that include its version. library.ts puts this on the first line of a
-- library's code, so that line numbers stay the same, and replaces SUFFIX. While a library loads, `redis` is the only
-- global name.
local register_versioned = function(first, callback)
  if callback then
    redis.register_function(first .. 'SUFFIX', callback)
  else
    first.function_name = first.function_name .. 'SUFFIX'
    redis.register_function(first)
  end
end
