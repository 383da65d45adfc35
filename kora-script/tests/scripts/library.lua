#!lua name=l

local n=0
redis.register_function("keys",function(k,a) return {k,a} end)
redis.register_function("count",function(k,a) n=n+1 return n end)
redis.register_function("err",function(k,a) error("boom") end)
redis.register_function("g",function(k,a) return x end)
redis.register_function("sg",function(k,a) x=1 end)
redis.register_function("kk",function(k,a) return KEYS end)
redis.register_function("call",function(k,a) return redis.call("nope") end)
redis.register_function("reg",function(k,a) return redis.register_function("z",function() end) end)
redis.register_function("bp",function(k,a) return redis.breakpoint() end)
redis.register_function("json",function(k,a) return cjson.encode({1}) end)
redis.register_function("ls",function(k,a) return loadstring("return KEYS")() end)
redis.register_function("glob",function(k,a) local r={} for k,v in pairs(_G) do r[#r+1]=k end table.sort(r) return r end)
redis.register_function("rg",function(k,a) local r={} for k,v in pairs(redis) do r[#r+1]=k end table.sort(r) return r end)
redis.register_function("mt",function(k,a) return {type(getmetatable(_G)), type(getmetatable(redis))} end)
redis.register_function("up",function(k,a) redis.x=1 end)
