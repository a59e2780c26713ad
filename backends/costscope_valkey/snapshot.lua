-- costscope ledger, layout 1: everything that stands in the books at one instant, for audits and reports.
-- The only script that reads keys which are not in KEYS: it finds them in the index and the leases. They all share
-- the hash tag of the keys that are declared, so a cluster runs it where they are; it writes nothing.
--
-- KEYS[1] leases ZSET, KEYS[2] index HASH (see ledger.lua)
-- ARGV[1] prefix of the hold keys; ARGV[2] '1' to list live holds, '0' to leave them out
-- Output: {now_ms, {account key, {field, value, ...}, ...}, {hold id, record, ...}}

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local index = redis.call('HGETALL', KEYS[2])
local accounts, holds = {}, {}

for at = 1, #index, 2 do
  local n, key = index[at], index[at + 1]
  if n ~= '#' and redis.call('HGET', key, 'n') == n then
    accounts[#accounts + 1] = key
    accounts[#accounts + 1] = redis.call('HGETALL', key)
  end
end
if ARGV[2] == '1' then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    holds[#holds + 1] = id
    holds[#holds + 1] = redis.call('GET', ARGV[1] .. id) or ''
  end
end
return {now, accounts, holds}
