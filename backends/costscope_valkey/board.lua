-- costscope board, layout 1: what processes agree on beside the books. Applies the operations of
-- costscope/stores/coordination/ops.py one after the other; costscope/stores/coordination/board.py is the same in Python, and one property test
-- compares both.
--
-- KEYS[1] events    STREAM  place -> id, token, record; at least the last 1,000
-- KEYS[2] ids       ZSET    id -> number; the last 1,000 published
-- KEYS[3] due       ZSET    delivery id -> ms from which it may be taken
-- KEYS[4] aging     ZSET    delivery id -> ms at which it is given up
-- KEYS[5] payload   HASH    delivery id -> '<bytes of the webhook> <webhook><record>'
-- KEYS[6] attempts  HASH    delivery id -> how often it was taken
-- and those that operations name by their place in KEYS:
--         marks     ZSET    'f<what>' of First, 'o<what>' of Publish.once -> ms until which it stands
--         values    HASH    <what> -> the value of First
--         notes     HASH    x: ms until which it stands, f: failures in a row, d: the last digests, n: how many,
--                           c: calls, m: their cost, t: ms of the last one, a: active ms, g: flags
--         pace      STRING  ms of the next place in the line
--
-- ARGV[1] a text that no other request has, then the operations, each a verb and its arguments:
--   first    marks, values, what, value, keep_ms
--   forget   marks, values, beginning of what, notes, pace
--   note     notes, digest, '1' if it failed ('0', '': nothing is said), keep_ms, cost, flag, '1' if a call has ended
--   pace     pace, interval_ms, patience_ms
--   publish  id, record, marks, values, what ('0', '0', '' without `once`), once_ms, how many webhooks, <webhook> ...
--   recent   count, '-' or '(<place>'
--   take     lease_ms, count
--   ack      how many, <delivery id> ...
--
-- Output, per operation: a text (first), a number (forget, pace, publish, ack), {failures, repeats, calls,
-- cost, active ms, flags} (note),
-- {place, record, ...} (recent), {id, webhook, record, attempt, ...} (take).
--
-- Rules: TIME is read once. Every number that becomes text goes through '%d'. Every key expires. Each operation
-- writes first what a full server refuses, so that it is done whole or not at all. A request that is repeated because
-- its answer was lost gets the answer of `publish` again: the token in the stream tells it.

local IDS, RECORDS, RECENT_PAGE, EVENTS_KEEP = 1000, 1000, 4096, $EVENTS_KEEP
local DIGESTS, DELIVERY_KEEP, DELIVERIES, GIVEN_UP_AT_ONCE = 32, $DELIVERY_KEEP, 100000, 1000
local PAUSE, AMOUNT_MAX = $PAUSE, $MAX
local call, tonumber, max, min, sub, find = redis.call, tonumber, math.max, math.min, string.sub, string.find
local events, ids, due, aging, payload, attempts = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local cursor = 1

local function text(number)
  return string.format('%d', number)
end

local function word()
  cursor = cursor + 1
  return ARGV[cursor]
end

local function number()
  return tonumber(word())
end

---------------------------------------------------------------------------------------------- what happened once

local function stands(marks, mark)
  local until_ms = call('ZSCORE', marks, mark)
  return until_ms and tonumber(until_ms) > now
end

-- Write a mark, drop some that are over, and let the group expire with its last one.
local function put_mark(marks, values, mark, keep_ms)
  call('ZADD', marks, text(now + keep_ms), mark)
  for _, over in ipairs(call('ZRANGEBYSCORE', marks, '-inf', text(now), 'LIMIT', 0, 64)) do
    call('ZREM', marks, over)
    if sub(over, 1, 1) == 'f' then
      call('HDEL', values, sub(over, 2))
    end
  end
  local last = call('ZRANGE', marks, -1, -1, 'WITHSCORES')[2]
  if last then
    call('PEXPIREAT', marks, text(tonumber(last)))
    call('PEXPIREAT', values, text(tonumber(last)))
  end
end

local function first()
  local marks, values, what, value, keep_ms = KEYS[number()], KEYS[number()], word(), word(), number()
  if stands(marks, 'f' .. what) then
    return call('HGET', values, what)
  end
  if value == '' then
    value = text(now)
  end
  call('HSET', values, what, value)
  put_mark(marks, values, 'f' .. what, keep_ms)
  return value
end

local function forget()
  local marks, values, beginning, notes, pace = KEYS[number()], KEYS[number()], word(), KEYS[number()], KEYS[number()]
  local found, count = call('ZRANGE', marks, 0, -1, 'WITHSCORES'), 0
  for at = 1, #found, 2 do
    local mark = found[at]
    if sub(mark, 2, 1 + #beginning) == beginning then
      if tonumber(found[at + 1]) > now then
        count = count + 1
      end
      call('ZREM', marks, mark)
      if sub(mark, 1, 1) == 'f' then
        call('HDEL', values, sub(mark, 2))
      end
    end
  end
  local noted, goes = call('HGET', notes, 'x'), call('GET', pace)
  if noted and tonumber(noted) > now then
    count = count + 1
  end
  if goes and tonumber(goes) > now then
    count = count + 1
  end
  call('DEL', notes, pace)
  return count
end

---------------------------------------------------------------------------------------------- runs and lines

-- The digests stand in one text, each with a space before it and one behind the last: ' a b a '.
local function note()
  local key, digest, failed, keep_ms = KEYS[number()], word(), word(), number()
  local cost, flag, counts = number(), word(), word() == '1'
  local known = call('HMGET', key, 'x', 'f', 'n', 'd', 'c', 'm', 't', 'a', 'g')
  local until_ms = tonumber(known[1] or 0)
  if until_ms <= now then
    known = {}
  end
  local failures, count, digests = tonumber(known[2] or 0), tonumber(known[3] or 0), known[4] or ' '
  local calls, total, active = tonumber(known[5] or 0), tonumber(known[6] or 0), tonumber(known[8] or 0)
  local last, flags = tonumber(known[7] or -1), known[9] or ''
  until_ms = max(until_ms, now + keep_ms)
  if flag ~= '' and not find(' ' .. flags .. ' ', ' ' .. flag .. ' ', 1, true) then
    flags = flags == '' and flag or flags .. ' ' .. flag
  end
  local repeats = 0
  if counts then
    if failed ~= '' then
      failures = failed == '1' and failures + 1 or 0
    end
    calls, total = calls + 1, min(total + cost, AMOUNT_MAX)
    if last < now then
      if last >= 0 then
        active = active + min(now - last, PAUSE)
      end
      last = now
    end
  end
  if counts and digest ~= '' then
    local wanted = ' ' .. digest .. ' '
    digests, count = digests .. digest .. ' ', count + 1
    if count > DIGESTS then
      digests, count = sub(digests, (find(digests, ' ', 2, true))), DIGESTS
    end
    local at = find(digests, wanted, 1, true)
    while at do
      repeats, at = repeats + 1, find(digests, wanted, at + #wanted - 1, true)
    end
  end
  call('HSET', key, 'x', text(until_ms), 'f', text(failures), 'n', text(count), 'd', digests, 'c', text(calls),
    'm', text(total), 't', text(last), 'a', text(active), 'g', flags)
  call('PEXPIREAT', key, text(until_ms))
  return {failures, repeats, calls, total, active, flags}
end

local function pace()
  local key, interval_ms, patience_ms = KEYS[number()], number(), number()
  local goes = max(tonumber(call('GET', key) or 0), now)
  if goes - now > patience_ms then
    return -1
  end
  if interval_ms > 0 then
    local following = text(goes + interval_ms)
    call('SET', key, following, 'PXAT', following)
  end
  return goes - now
end

---------------------------------------------------------------------------------------------- deliveries

local function drop(id)
  call('ZREM', aging, id)
  call('HDEL', payload, id)
  call('HDEL', attempts, id)
  return call('ZREM', due, id)
end

local function give_up()
  for _, id in ipairs(call('ZRANGEBYSCORE', aging, '-inf', text(now), 'LIMIT', 0, GIVEN_UP_AT_ONCE)) do
    drop(id)
  end
end

local function deliver(id, record, webhooks)
  local given_up = text(now + DELIVERY_KEEP)
  for _, webhook in ipairs(webhooks) do
    local delivery = id .. ':' .. webhook
    call('HSET', payload, delivery, text(#webhook) .. ' ' .. webhook .. record)
    call('HSET', attempts, delivery, '0')
    call('ZADD', due, text(now), delivery)
    call('ZADD', aging, given_up, delivery)
  end
  give_up()
  local beyond = call('ZCARD', due) - DELIVERIES
  if beyond > 0 then
    for _, oldest in ipairs(call('ZRANGE', aging, 0, beyond - 1)) do
      drop(oldest)
    end
  end
  for at = 3, 6 do
    call('PEXPIREAT', KEYS[at], given_up)
  end
end

local function take()
  local lease_ms, count, taken = number(), number(), {}
  give_up()
  if count > 0 then
    for _, id in ipairs(call('ZRANGEBYSCORE', due, '-inf', text(now), 'LIMIT', 0, text(count))) do
      local content = call('HGET', payload, id)
      local _, last, size = find(content, '^(%d+) ')
      local size_end = last + tonumber(size)
      taken[#taken + 1] = id
      taken[#taken + 1] = sub(content, last + 1, size_end)
      taken[#taken + 1] = sub(content, size_end + 1)
      taken[#taken + 1] = call('HINCRBY', attempts, id, 1)
      call('ZADD', due, text(now + lease_ms), id)
    end
  end
  return taken
end

local function ack()
  local count, waiting = number(), 0
  give_up()
  for _ = 1, count do
    waiting = waiting + drop(word())
  end
  return waiting
end

---------------------------------------------------------------------------------------------- the stream

-- Was it this very request that published the id? Seldom asked, so the stream itself is searched.
local function published_by(id, token)
  for _, entry in ipairs(call('XREVRANGE', events, '+', '-', 'COUNT', RECENT_PAGE)) do
    if entry[2][2] == id then
      return entry[2][4] == token and 1 or 0
    end
  end
  return 0
end

local function publish()
  local token = ARGV[1] .. ':' .. text(cursor)
  local id, record, marks, values, what, once_ms = word(), word(), KEYS[number()], KEYS[number()], word(), number()
  local webhooks = {}
  for at = 1, number() do
    webhooks[at] = word()
  end
  if call('ZSCORE', ids, id) then
    return published_by(id, token)
  end
  if marks and stands(marks, 'o' .. what) then
    return 0
  end
  local last = call('ZRANGE', ids, -1, -1, 'WITHSCORES')[2]
  call('XADD', events, 'MAXLEN', '~', RECORDS, '*', 'id', id, 'token', token, 'record', record)
  call('ZADD', ids, text(tonumber(last or 0) + 1), id)
  call('ZREMRANGEBYRANK', ids, 0, -1 - IDS)
  call('PEXPIREAT', events, text(now + EVENTS_KEEP))
  call('PEXPIREAT', ids, text(now + EVENTS_KEEP))
  if marks then
    put_mark(marks, values, 'o' .. what, once_ms)
  end
  if #webhooks > 0 then
    deliver(id, record, webhooks)
  end
  return 1
end

local function recent()
  local count, from, found = word(), word(), {}
  if count == '0' then
    return found
  end
  local entries = call('XREVRANGE', events, '+', from, 'COUNT', count)
  for at = #entries, 1, -1 do
    found[#found + 1] = entries[at][1]
    found[#found + 1] = entries[at][2][6]
  end
  return found
end

local verbs = {
  first = first, forget = forget, note = note, pace = pace, publish = publish, recent = recent, take = take, ack = ack,
}
local answers = {}
while cursor < #ARGV do
  answers[#answers + 1] = verbs[word()]()
end
return answers
