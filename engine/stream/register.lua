-- Registers a library's functions under names that carry its version; library.ts puts this on the first line of a
-- library's code, so that line numbers stay, and has the library call it. SUFFIX is replaced. While a library loads,
-- Lua knows no name but `redis`.
local register_versioned = function(first, callback)
  if callback then
    redis.register_function(first .. 'SUFFIX', callback)
  else
    first.function_name = first.function_name .. 'SUFFIX'
    redis.register_function(first)
  end
end
