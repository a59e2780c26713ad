-- costscope ledger, layout 1: applies one batch of commands atomically.
-- The transition table is that of costscope/ledger/transition.py; one property test compares both.
--
-- KEYS[1]       leases   ZSET    hold id -> deadline_ms; live holds only
-- KEYS[2]       index    HASH    account number -> account key; '#' -> the last number given
-- KEYS[3]       ages     ZSET    account number -> drop_ms; what the index may forget
-- KEYS[4..3+A]  account  HASH    n: its number, x: drop_ms ('0': never), about: JSON for people,
--                                <meter>: 'spent held reserved settled released presumed overrun refund orphan'
-- KEYS[4+A..]   hold     STRING  'state drop fingerprint units actual', and while it is live or presumed
--                                ' deadline until lost accounts amounts' behind that, where
--                                accounts = '<number>:<meters>,...' with a letter a meter (a = cost, b = tokens ...),
--                                amounts and actual = '<letter><amount>...', and '-' stands for nothing
--
-- ARGV[1] JSON {a: [[start_ms, end_ms, keep_ms, [meter, ...], [limit, ...]], ...], s: [[account, ...], ...],
--               h: [hold id, ...], c: [command, ...]}; accounts, meters, holds (h) and sets of accounts (s) are named
--               by 1-based indexes; amounts are one number a meter, -1 for a meter that has none
--   [1, h, s, amounts, lease_ms, lost, fingerprint, units_min, units_max, step]   reserve
--   [2, h, s, amounts, keep_ms]                                                   commit
--   [3, h, s, keep_ms]                                                            release
--   [4, h, lease_ms]                                                              extend
--   [5, h, s]                                                                     expire
--   [6]                                                                           read
-- ARGV[2..1+A] the `about` of each account
--
-- Output: a flat list of integers: now_ms, holds that are due, then per command its outcome
-- (1 + units, 2 + account, place in its limits, kind, limit, spent, held, requested; others alone),
-- then per account and limited meter: spent, held.
--
-- Rules: look at everything first; writes come last and cannot fail half-way (a script that errors is not rolled
-- back). The first write is one that a full server refuses. Every number that becomes text goes through '%d',
-- which is exact to 2^53: tostring(1e14) is '1e+14'. TIME is read once. Sums that only grow are kept modulo 2^53.

local GRANTED, DENIED, WRONG_WINDOW, CANCELLED, MISMATCH, OVERFLOW = 1, 2, 3, 4, 5, 6
local COMMITTED, LATE, ORPHAN, RELEASED, EXTENDED, LOST, PRESUMED, KEPT, READ = 7, 8, 9, 10, 11, 12, 13, 14, 15
local S_HELD, S_COMMITTED, S_RELEASED, S_PRESUMED, S_LATE, S_ORPHAN = 1, 2, 3, 4, 5, 6
local REPEATED = {[S_COMMITTED] = COMMITTED, [S_LATE] = LATE, [S_ORPHAN] = ORPHAN}
local IN_FLIGHT, EXHAUSTED, NEVER_FITS = 1, 2, 3
local METERS = {'cost', 'tokens', 'input_tokens', 'output_tokens', 'model_calls', 'tool_calls'}
local LETTERS = {'a', 'b', 'c', 'd', 'e', 'f'}
local BEFORE_A = 96
local TWO53, MAX = 9007199254740992, 9007199254740991
local LEASE_MAX, PRESUMED_KEEP = 86400000, 172800000
local SPENT, HELD, RESERVED, SETTLED, REST = 1, 2, 3, 4, 5
local GIVEN_BACK, PRESUMED_SUM, OVERRUN, REFUND, ORPHANED = 6, 7, 8, 9, 10
local CELL, REST_OF_CELL = '^(%d+) (%d+) (%d+) (%d+) (.*)$', '^(%d+) (%d+) (%d+) (%d+) (%d+)$'
local RECORD, LIVE_RECORD = '^(%d) (%d+) (%S+) (%d+) (%S+) ?(.*)$', '^(%d+) (%d+) (%d) (%S+) (%S+)$'

local call, tonumber, format, byte = redis.call, tonumber, string.format, string.byte
local match, gmatch, concat, min, max = string.match, string.gmatch, table.concat, math.min, math.max

local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local batch = cjson.decode(ARGV[1])
local account_count, hold_count = #batch.a, #batch.h
local accounts, sets, holds, texts = {}, {}, {}, {}
local out, size = {now, call('ZCOUNT', KEYS[1], '-inf', format('%d', now))}, 2

local function put(number)
  size = size + 1
  out[size] = number
end

-- A sum modulo 2^53 that never leaves the integers a double counts exactly.
local function grow(cell, at, amount)
  local old = cell[at]
  if old >= TWO53 - amount then
    cell[at] = old - (TWO53 - amount)
  else
    cell[at] = old + amount
  end
end

------------------------------------------------------------------------------------------------ reading

-- The four counters that every call moves are numbers at once; the other five stay text until one is needed.
local function parse_cell(text)
  if not text then
    return {0, 0, 0, 0, '0 0 0 0 0'}
  end
  local spent, held, reserved, settled, rest = match(text, CELL)
  return {tonumber(spent), tonumber(held), tonumber(reserved), tonumber(settled), rest}
end

local function whole(cell)
  if cell[REST] then
    local a, b, c, d, e = match(cell[REST], REST_OF_CELL)
    cell[GIVEN_BACK], cell[PRESUMED_SUM], cell[OVERRUN] = tonumber(a), tonumber(b), tonumber(c)
    cell[REFUND], cell[ORPHANED], cell[REST] = tonumber(d), tonumber(e), false
  end
  return cell
end

local function cell_text(cell)
  local rest = cell[REST]
    or format('%d %d %d %d %d', cell[GIVEN_BACK], cell[PRESUMED_SUM], cell[OVERRUN], cell[REFUND], cell[ORPHANED])
  return format('%d %d %d %d %s', cell[SPENT], cell[HELD], cell[RESERVED], cell[SETTLED], rest)
end

local function load_account(index)
  local spec, key = batch.a[index], KEYS[3 + index]
  local meters, fields = spec[4], {'n', 'x', 'about'}
  for at = 1, #meters do
    fields[3 + at] = METERS[meters[at]]
  end
  local raw = call('HMGET', key, unpack(fields))
  local found = {
    key = key, start = spec[1], finish = spec[2], keep = spec[3], meters = meters, limits = spec[5],
    n = raw[1], drop = tonumber(raw[2] or 0), about = raw[3], cells = {},
  }
  if found.n and found.drop > 0 and found.drop <= now then -- past its keeping time: forgotten, if not yet collected
    found.n, found.drop, found.about, raw, found.stale = false, 0, false, {}, true
  end
  for at = 1, #meters do
    found.cells[meters[at]] = parse_cell(raw[3 + at])
  end
  accounts[index] = found
  return found
end

-- The accounts of a command, loaded once a batch however many commands name the same set.
local function accounts_of(index)
  local found = sets[index]
  if not found then
    found = {}
    local members = batch.s[index]
    for at = 1, #members do
      found[at] = accounts[members[at]] or load_account(members[at])
    end
    sets[index] = found
  end
  return found
end

-- The cell of a meter the account does not limit any more, but a hold on it still has.
local function load_cell(acc, meter)
  local cell = parse_cell(acc.n and call('HGET', acc.key, METERS[meter]))
  acc.cells[meter] = cell
  return cell
end

local function parse_amounts(text)
  local amounts = {-1, -1, -1, -1, -1, -1}
  for letter, amount in gmatch(text, '(%a)(%d+)') do
    amounts[byte(letter) - BEFORE_A] = tonumber(amount)
  end
  return amounts
end

local function parse_record(text)
  local state, drop, fingerprint, units, actual, live = match(text, RECORD)
  local record = {
    state = tonumber(state), drop = tonumber(drop), fingerprint = fingerprint, units = tonumber(units), actual = actual,
    deadline = 0, until_ms = 0, lost = 0, refs = '-', amounts = false,
  }
  if live ~= '' then
    local deadline, until_ms, lost, refs, amounts = match(live, LIVE_RECORD)
    record.deadline, record.until_ms, record.lost = tonumber(deadline), tonumber(until_ms), tonumber(lost)
    record.refs, record.amounts = refs, parse_amounts(amounts)
  end
  return record
end

-- A hold's record; nil when it is unknown or past its keeping time.
local function hold(index)
  local found = holds[index]
  if found == nil then
    found = texts[index] and parse_record(texts[index])
    holds[index] = found
  end
  if found and found.drop > 0 and found.drop <= now then
    return nil
  end
  return found or nil
end

local function letters_of(acc, amounts)
  local letters = ''
  for place = 1, #acc.meters do
    local meter = acc.meters[place]
    if amounts[meter] >= 0 then
      letters = letters .. LETTERS[meter]
    end
  end
  return letters
end

-- What a hold of these amounts on these accounts is written as: which account by number, which of its meters.
local function refs_of(list, amounts)
  local parts, mask = {}, 0
  for meter = 1, #METERS do
    mask = mask * 2 + (amounts[meter] >= 0 and 1 or 0)
  end
  local known = list[-mask]
  if not known then
    for at = 1, #list do
      parts[at] = list[at].n .. ':' .. letters_of(list[at], amounts)
    end
    known = #parts > 0 and concat(parts, ',') or '-'
    list[-mask] = known
  end
  return known
end

local function same_list(one, other)
  local same = #one == #other
  for at = 1, #one do
    same = same and one[at] == other[at]
  end
  return same
end

-- Do the accounts of a command belong to this hold? 'other' if they are not those it was made on, 'gone' if one of
-- them has been forgotten since: that one is passed over by `each`, what the hold has elsewhere is still to settle.
-- A hold made in this very batch has its list; others are known by their text, and only where that differs (limits
-- were changed, an account is gone) does it have to be taken apart.
local function compare(record, list)
  if record.list then
    return (record.list == list or same_list(record.list, list)) and 'same' or 'other'
  end
  local complete = true
  for at = 1, #list do
    complete = complete and list[at].n
  end
  if complete and record.refs == refs_of(list, record.amounts) then
    return 'same'
  end
  local letters, at, verdict = {}, 0, 'same'
  for n, held in gmatch(record.refs, '(%d+):(%a*)') do
    at = at + 1
    local acc = list[at]
    if not acc then
      return 'other'
    elseif acc.n ~= n then
      local key = call('HGET', KEYS[2], n)
      if key and key ~= acc.key then
        return 'other'
      end
      held, verdict = '', 'gone'
    end
    letters[at] = held
  end
  record.letters = letters
  return at == #list and verdict or 'other'
end

------------------------------------------------------------------------------------------------ changing

-- Calls visit(cell, amount, meter) for everything a hold has in the accounts of a command.
local function each(record, list, visit)
  local amounts, letters = record.amounts, record.letters
  for at = 1, #list do
    local acc = list[at]
    local cells = acc.cells
    if letters then
      acc.changed = acc.changed or letters[at] ~= ''
      for place = 1, #letters[at] do
        local meter = byte(letters[at], place) - BEFORE_A
        visit(cells[meter] or load_cell(acc, meter), amounts[meter], meter)
      end
    else
      local meters = acc.meters
      acc.changed = true
      for place = 1, #meters do
        local meter = meters[place]
        local amount = amounts[meter]
        if amount >= 0 then
          visit(cells[meter], amount, meter)
        end
      end
    end
  end
end

-- Prolong an account's keeping; the moment until which it is sure to be kept.
local function keep(acc)
  if acc.sure then
    return acc.sure
  end
  local drop, sure = acc.drop, now + 365 * LEASE_MAX
  if acc.finish > 0 then
    sure = acc.finish + acc.keep
    drop = max(drop, sure) -- never shortened: another policy's holds may count on it
  elseif acc.keep > 0 then
    local step = math.floor(acc.keep / 8)
    sure = min(sure, now + acc.keep - step)
    drop = max(acc.drop, now + acc.keep)
    if drop - acc.drop <= step then
      drop = acc.drop
    end
  end
  if drop ~= acc.drop then
    acc.drop, acc.aged = drop, true
  end
  acc.sure, acc.described, acc.changed = sure, true, true
  return sure
end

local function overflows(record, list, actuals)
  local amounts, high = record.amounts, false
  for meter = 1, #METERS do
    high = high or (amounts[meter] >= 0 and actuals[meter] > amounts[meter])
  end
  if not high then
    return false
  end
  local over = false
  each(record, list, function(cell, amount, meter)
    local actual = actuals[meter] >= 0 and actuals[meter] or amount
    over = over or cell[SPENT] + cell[HELD] - amount + actual > MAX
  end)
  return over
end

local function give_back(record, list)
  local live = record.state == S_HELD
  each(record, list, function(cell, amount)
    whole(cell)
    if live then
      cell[HELD] = cell[HELD] - amount
    else
      cell[PRESUMED_SUM] = cell[PRESUMED_SUM] - amount
      cell[SPENT] = cell[SPENT] - amount
    end
    grow(cell, GIVEN_BACK, amount)
  end)
end

local function presume(record, list)
  each(record, list, function(cell, amount)
    whole(cell)
    cell[HELD] = cell[HELD] - amount
    cell[PRESUMED_SUM] = cell[PRESUMED_SUM] + amount
    cell[SPENT] = cell[SPENT] + amount
  end)
end

-- The hold's process is presumed dead.
local function lose(record, list)
  if record.lost == 0 then
    presume(record, list)
    record.state = S_PRESUMED
  else
    give_back(record, list)
    record.state = S_RELEASED
  end
  record.drop, record.changed = now + PRESUMED_KEEP, true
end

local function settle(record, list, actuals)
  local live = record.state == S_HELD
  each(record, list, function(cell, amount, meter)
    local actual = actuals[meter]
    if actual < 0 then
      actual = amount
    end
    if live then
      cell[HELD] = cell[HELD] - amount
      cell[SPENT] = cell[SPENT] + actual
    else
      whole(cell)
      cell[PRESUMED_SUM] = cell[PRESUMED_SUM] - amount
      cell[SPENT] = cell[SPENT] - amount + actual
    end
    grow(cell, SETTLED, amount)
    if actual > amount then
      whole(cell)
      cell[OVERRUN] = cell[OVERRUN] + actual - amount
    elseif actual < amount then
      grow(whole(cell), REFUND, amount - actual)
    end
  end)
end

local function join(amounts)
  local parts = ''
  for meter = 1, #METERS do
    local amount = amounts[meter]
    if amount >= 0 then
      parts = parts .. LETTERS[meter] .. format('%d', amount)
    end
  end
  return parts == '' and '-' or parts
end

local function close(index, record, state, actual, keep_ms)
  if keep_ms > 0 then
    record.state, record.actual, record.drop, record.changed = state, actual, now + keep_ms, true
    holds[index] = record
  elseif holds[index] then
    holds[index] = {gone = true, drop = 1}
  end
end

local function blank()
  return {fingerprint = '-', units = 0}
end

------------------------------------------------------------------------------------------------ the verbs

local function admits(list, amounts)
  for at = 1, #list do
    local acc = list[at]
    local meters, limits, cells = acc.meters, acc.limits, acc.cells
    for place = 1, #meters do
      local amount, cell = amounts[meters[place]], cells[meters[place]]
      if amount >= 0 and cell[SPENT] + cell[HELD] + amount > limits[place] then
        return false
      end
    end
  end
  return true
end

-- The first of the hardest refusals: waiting for one account is no use while another is exhausted.
local function refuse(list, amounts)
  local rank, worst = 0, nil
  for at = 1, #list do
    local acc = list[at]
    for place = 1, #acc.meters do
      local meter, limit = acc.meters[place], acc.limits[place]
      local amount, spent, held = amounts[meter], acc.cells[meter][SPENT], acc.cells[meter][HELD]
      if amount >= 0 and spent + held + amount > limit then
        local kind = amount > limit and NEVER_FITS or (spent + amount > limit and EXHAUSTED or IN_FLIGHT)
        if kind > rank then
          rank, worst = kind, {DENIED, at - 1, place - 1, kind, limit, spent, held, amount}
        end
      end
    end
  end
  for at = 1, #worst do
    put(worst[at])
  end
end

local function units_that_fit(list, amounts, step, least, most)
  local units = most
  for at = 1, #list do
    local acc = list[at]
    for place = 1, #acc.meters do
      local meter = acc.meters[place]
      local amount, unit, cell = amounts[meter], step[meter], acc.cells[meter]
      if unit > 0 and amount >= 0 then
        local room = max(acc.limits[place] - cell[SPENT] - cell[HELD] - amount, 0)
        units = min(units, (room - math.fmod(room, unit)) / unit) -- exact, where floor(a / b) may round up
      end
    end
  end
  return max(units, least)
end

local function enter_hold(index, list, amounts, lease, lost, fingerprint, units)
  local until_ms = list.until_ms
  if not until_ms then
    until_ms = now + 365 * LEASE_MAX
    for at = 1, #list do
      until_ms = min(until_ms, keep(list[at]))
    end
    list.until_ms = until_ms
  end
  for at = 1, #list do
    local acc = list[at]
    local meters, cells = acc.meters, acc.cells
    acc.changed = true
    for place = 1, #meters do
      local amount, cell = amounts[meters[place]], cells[meters[place]]
      if amount >= 0 then
        cell[HELD] = cell[HELD] + amount
        grow(cell, RESERVED, amount)
      end
    end
  end
  holds[index] = {
    state = S_HELD, drop = 0, fingerprint = fingerprint, units = units, actual = '-', changed = true,
    deadline = min(now + min(lease, LEASE_MAX), until_ms), until_ms = until_ms, lost = lost, list = list,
    amounts = amounts,
  }
end

local function reserve(c)
  local index, fingerprint = c[2], c[7]
  local known = hold(index)
  if known then
    if known.fingerprint ~= '-' and known.fingerprint ~= fingerprint then
      return put(MISMATCH)
    elseif known.state == S_RELEASED or known.state == S_ORPHAN then
      return put(CANCELLED)
    end
    put(GRANTED)
    return put(known.units)
  end
  local list, amounts, units = accounts_of(c[3]), c[4], 0
  for at = 1, #list do
    if list[at].finish > 0 and (now < list[at].start or now >= list[at].finish) then
      return put(WRONG_WINDOW)
    end
  end
  if c[9] > 0 then
    units = units_that_fit(list, amounts, c[10], c[8], c[9])
    for meter = 1, #METERS do
      if amounts[meter] >= 0 then
        amounts[meter] = amounts[meter] + units * max(c[10][meter], 0)
      end
    end
  end
  if not admits(list, amounts) then
    return refuse(list, amounts)
  end
  enter_hold(index, list, amounts, c[5], c[6], fingerprint, units)
  put(GRANTED)
  put(units)
end

local function commit_orphan(c)
  local list, actuals = accounts_of(c[3]), c[4]
  for at = 1, #list do
    local acc = list[at]
    for place = 1, #acc.meters do
      local cell, actual = acc.cells[acc.meters[place]], actuals[acc.meters[place]]
      if actual >= 0 and cell[SPENT] + cell[HELD] + actual > MAX then
        return put(OVERFLOW)
      end
    end
  end
  for at = 1, #list do
    local acc = list[at]
    for place = 1, #acc.meters do
      local cell, actual = acc.cells[acc.meters[place]], actuals[acc.meters[place]]
      if actual >= 0 then
        whole(cell)
        cell[SPENT] = cell[SPENT] + actual
        cell[ORPHANED] = cell[ORPHANED] + actual
      end
    end
    keep(acc)
  end
  close(c[2], blank(), S_ORPHAN, join(actuals), c[5])
  put(ORPHAN)
end

local function commit(c)
  local index, actuals = c[2], c[4]
  local record = hold(index)
  if not record then
    return commit_orphan(c)
  elseif REPEATED[record.state] then
    return put(record.actual == join(actuals) and REPEATED[record.state] or MISMATCH)
  elseif record.state == S_RELEASED then
    return commit_orphan(c)
  end
  local list = accounts_of(c[3])
  local verdict = compare(record, list)
  if verdict == 'other' then
    return put(MISMATCH)
  end
  if record.state == S_HELD and now >= record.deadline then
    lose(record, list)
  end
  if record.state == S_RELEASED or verdict == 'gone' then
    return commit_orphan(c)
  elseif overflows(record, list, actuals) then
    return put(OVERFLOW)
  end
  local state = record.state == S_HELD and S_COMMITTED or S_LATE
  settle(record, list, actuals)
  close(index, record, state, c[5] > 0 and join(actuals), c[5])
  put(REPEATED[state])
end

local function release(c)
  local index = c[2]
  local record = hold(index)
  if not record then
    close(index, blank(), S_RELEASED, '-', c[4])
  elseif REPEATED[record.state] then
    return put(MISMATCH)
  elseif record.state ~= S_RELEASED then
    local list = accounts_of(c[3])
    if compare(record, list) == 'other' then
      return put(MISMATCH)
    end
    give_back(record, list)
    close(index, record, S_RELEASED, '-', c[4])
  end
  put(RELEASED)
end

local function extend(c)
  local record = hold(c[2])
  if not record or record.state ~= S_HELD or now >= record.deadline then
    return put(LOST)
  end
  record.deadline, record.changed = min(now + min(c[3], LEASE_MAX), record.until_ms), true
  put(EXTENDED)
end

local function expire(c)
  local record = hold(c[2])
  if not record or record.state ~= S_HELD or now < record.deadline then
    return put(KEPT)
  end
  local list = accounts_of(c[3])
  if compare(record, list) == 'other' then
    return put(MISMATCH)
  end
  lose(record, list)
  put(PRESUMED)
end

local function read()
  put(READ)
end

if hold_count > 0 then
  local keys = {}
  for index = 1, hold_count do
    keys[index] = KEYS[3 + account_count + index]
  end
  texts = call('MGET', unpack(keys))
end
local VERBS = {reserve, commit, release, extend, expire, read}
for at = 1, #batch.c do
  local command = batch.c[at]
  VERBS[command[1]](command)
end

------------------------------------------------------------------------------------------------ writing

-- An account that does not exist yet gets the next number; the index forgets a few that are long gone.
local function open_account(acc)
  local aged = call('ZRANGEBYSCORE', KEYS[3], '-inf', format('%d', now), 'LIMIT', 0, 8)
  acc.n = format('%d', call('HINCRBY', KEYS[2], '#', 1))
  call('HSET', KEYS[2], acc.n, acc.key)
  if acc.stale then
    call('DEL', acc.key)
  end
  if #aged > 0 then
    call('HDEL', KEYS[2], unpack(aged))
    call('ZREM', KEYS[3], unpack(aged))
  end
end

local function write_account(index, acc)
  local fields = {}
  if not acc.n then
    open_account(acc)
    acc.aged = acc.drop > 0
    fields = {'n', acc.n, 'x', '0'}
  end
  if acc.aged then
    fields[#fields + 1] = 'x'
    fields[#fields + 1] = format('%d', acc.drop)
  end
  local about = ARGV[1 + index]
  if acc.described and acc.about ~= about then
    fields[#fields + 1] = 'about'
    fields[#fields + 1] = about
  end
  for meter, cell in pairs(acc.cells) do
    fields[#fields + 1] = METERS[meter]
    fields[#fields + 1] = cell_text(cell)
  end
  call('HSET', acc.key, unpack(fields))
  if acc.aged then
    call('PEXPIREAT', acc.key, format('%d', acc.drop))
    call('ZADD', KEYS[3], format('%d', acc.drop), acc.n)
  end
end

-- Settled holds need not know any more what they held where.
local function record_text(record)
  local head = format('%d %d %s %d %s', record.state, record.drop, record.fingerprint, record.units, record.actual)
  if record.state ~= S_HELD and record.state ~= S_PRESUMED then
    return head
  end
  local refs = record.list and refs_of(record.list, record.amounts) or record.refs
  return format('%s %d %d %d %s %s', head, record.deadline, record.until_ms, record.lost, refs, join(record.amounts))
end

for index = 1, account_count do
  local acc = accounts[index]
  if acc and acc.changed then
    write_account(index, acc)
  end
end
local live, dated, ended = {}, {}, {}
for index = 1, hold_count do
  local record, key, id = holds[index], KEYS[3 + account_count + index], batch.h[index]
  if record and record.changed then
    local text = record_text(record)
    if record.state == S_HELD then
      live[#live + 1], live[#live + 2] = key, text
      dated[#dated + 1], dated[#dated + 2] = format('%d', record.deadline), id
    else
      call('SET', key, text, 'PXAT', format('%d', record.drop))
    end
  end
  if record and (record.gone or record.changed and record.state ~= S_HELD) and texts[index] then
    ended[#ended + 1] = id
    if record.gone then
      call('DEL', key)
    end
  end
end
if #live > 0 then
  call('MSET', unpack(live))
  call('ZADD', KEYS[1], unpack(dated))
end
if #ended > 0 then
  call('ZREM', KEYS[1], unpack(ended))
end

for index = 1, account_count do
  local acc = accounts[index] or load_account(index)
  for place = 1, #acc.meters do
    local cell = acc.cells[acc.meters[place]]
    put(cell[SPENT])
    put(cell[HELD])
  end
end
return out
