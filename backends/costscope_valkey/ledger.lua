-- costscope ledger, layout 1: applies one batch of commands atomically.
-- The transition table is that of costscope/ledger/transition.py; one property test compares both.
--
-- KEYS[1]       leases   ZSET    hold id -> deadline_ms; live holds only
-- KEYS[2]       index    HASH    account number -> account key; '#' -> the last number given
-- KEYS[3]       ages     ZSET    account number -> drop_ms; what the index may forget
-- KEYS[4..3+A]  account  HASH    n: its number, x: drop_ms ('0': never), about: JSON for people,
--                                q: 'ticket until ...', who waits here (only while one does),
--                                <meter>: 'spent held reserved settled released presumed overrun refund orphan'
-- KEYS[4+A..]   hold     STRING  'state drop fingerprint units actual', and while it is live or presumed
--                                ' deadline until lost accounts amounts' behind that, where
--                                accounts = '<number>:<meters>,...' with a letter a meter (a = cost, b = tokens ...),
--                                amounts and actual = '<letter><amount>...', and '-' stands for nothing
--
-- ARGV[1] one flat JSON list, read with a cursor; accounts, sets of accounts (s) and holds (h) are named by 1-based
--         indexes, meters by their place in METERS (a letter each, from a on), amounts as in a hold:
--   accounts, sets, holds, commands, 1 if no hold is named twice (else 0)
--   an account:  start_ms, end_ms, keep_ms, meters (letters), how many, <field name> ..., <meter, limit> ...
--   a set:       how many, <account> ...; or -1 alone: all accounts in their order
--   a hold:      id
--   a command:   1, h, s, amounts, lease_ms, lost, fingerprint                              reserve
--                2, h, s, amounts, keep_ms                                                  commit
--                3, h, s, keep_ms                                                           release
--                4, h, lease_ms                                                             extend
--                5, h, s                                                                    expire
--                6                                                                          read
--                7, h, s, amounts, lease_ms, lost, fingerprint, units_min, units_max, step  reserve, capped
--                8, the same, ticket, wait_ms                                               reserve, with a ticket
--                9, h, s, amounts, keep_ms                                                  forgive
-- ARGV[2..1+A] the `about` of each account
--
-- Output: a flat list of integers: now_ms, holds that are due, then per command its outcome
-- (1 + units, 2 + account, place in its limits, kind, limit, spent, held, requested; others alone),
-- then per account and limited meter: spent, held.
--
-- A dollar sign and a name: a value of the Python ledger, written in when this is loaded (tables.py).
--
-- Rules: look at everything first; writes come last and cannot fail half-way (a script that errors is not rolled
-- back). The first write is one that a full server refuses. Every number that becomes text goes through '%d',
-- which is exact to 2^53: tostring(1e14) is '1e+14'. TIME is read once. Sums that only grow are kept modulo 2^53.
--
-- Speed: the server runs this chunk from the top for every call, and making a function costs it more than running
-- one: each captured local is an allocation. So what every call does (load, a plain reserve, a plain commit of a
-- live hold in time, write, reply) stands straight in the main chunk, in arrays, and all the rest inside `seldom`,
-- which captures nothing and is run by the first command that needs it. A rule that stands in both is marked (both).

-- What a cell (one meter of one account) has where. Three sums that few calls move stay one text until then.
local SPENT, HELD, RESERVED, SETTLED, REFUND, METER, LIMIT, THREE, ORPHANED = 1, 2, 3, 4, 5, 6, 7, 8, 9
local CELL = '^(%d+) (%d+) (%d+) (%d+) (%d+ %d+ %d+) (%d+) (%d+)$'
local RUN_SLOTS, CALL_SLOTS = $RUN_SLOTS, $CALL_SLOTS -- the places of the meters that are given back and never spent
local LIVE = '^1 0 (%S+ %d+) %- (%d+) %d+ %d (%S+) (%S+)$' -- fingerprint and units, deadline, accounts, amounts
local TWO53, MAX, LEASE_MAX = 9007199254740992, $MAX, $LEASE_MAX
local GRANTED, COMMITTED, READ = 1, 7, 15
local call, match, format = redis.call, string.match, string.format

------------------------------------------------------------------------------------------------ what is seldom

-- The rest of the transition table: {verb(at), ...} by number, and what writing needs for it. `at` is where the
-- command stands in `flat`. `todo` collects what is to be written for holds.
local function seldom(now, flat, ids, accounts, sets, cells, texts, out, todo, keep, refs_of, amounts_of)
  local GRANTED, DENIED, WRONG_WINDOW, CANCELLED, MISMATCH, OVERFLOW = 1, 2, 3, 4, 5, 6
  local COMMITTED, LATE, ORPHAN, RELEASED, EXTENDED, LOST, PRESUMED, KEPT = 7, 8, 9, 10, 11, 12, 13, 14
  local FORGIVEN = 16
  local S_HELD, S_COMMITTED, S_RELEASED, S_PRESUMED, S_LATE, S_ORPHAN, S_FORGIVEN = 1, 2, 3, 4, 5, 6, 7
  local REPEATED = {[S_COMMITTED] = COMMITTED, [S_LATE] = LATE, [S_ORPHAN] = ORPHAN}
  local IN_FLIGHT, EXHAUSTED, NEVER_FITS = $IN_FLIGHT, $EXHAUSTED, $NEVER_FITS -- the harder, the higher
  local METERS, IS_SLOT = {$METERS}, {$IS_SLOT}
  local BEFORE_A, TICKETS_MAX = $BEFORE_A, 1024
  local TWO53, MAX = 9007199254740992, $MAX
  local LEASE_MAX, PRESUMED_KEEP = $LEASE_MAX, $PRESUMED_KEEP
  local SPENT, HELD, RESERVED, SETTLED, REFUND, METER, LIMIT, THREE, ORPHANED = 1, 2, 3, 4, 5, 6, 7, 8, 9
  local GIVEN_BACK, PRESUMED_SUM, OVERRUN = 10, 11, 12 -- once `whole` has taken THREE apart
  local RECORD, LIVE_RECORD = '^(%d) (%d+) (%S+) (%d+) (%S+) ?(.*)$', '^(%d+) (%d+) (%d) (%S+) (%S+)$'
  local call, tonumber, format, byte = redis.call, tonumber, string.format, string.byte
  local match, gmatch, min, max = string.match, string.gmatch, math.min, math.max
  local holds = {}

  local function put(number)
    out[#out + 1] = number
  end

  -- A sum modulo 2^53 that never leaves the integers a double counts exactly. (both)
  local function grow(cell, place, amount)
    local sum = cell[place] - TWO53 + amount
    cell[place] = sum < 0 and sum + TWO53 or sum
  end

  local function whole(cell)
    if cell[THREE] then
      local a, b, c = match(cell[THREE], '^(%d+) (%d+) (%d+)$')
      cell[GIVEN_BACK], cell[PRESUMED_SUM], cell[OVERRUN], cell[THREE] = tonumber(a), tonumber(b), tonumber(c), false
    end
  end

  -- The cell of an account and a meter; it may be one that the account does not limit any more, but a hold on it has.
  local function cell_of(acc, meter)
    for place = acc.first, acc.last do
      if cells[place][METER] == meter then
        return cells[place]
      end
    end
    local name = METERS[meter]
    acc.others = acc.others or {}
    if not acc.others[name] then
      local text = acc.n and call('HGET', acc.key, name) or '0 0 0 0 0 0 0 0 0'
      local a, b, c, d, three, e, orphaned = match(text, '^(%d+) (%d+) (%d+) (%d+) (%d+ %d+ %d+) (%d+) (%d+)$')
      acc.others[name] = {
        tonumber(a), tonumber(b), tonumber(c), tonumber(d), tonumber(e), meter, false, three, orphaned,
      }
    end
    return acc.others[name]
  end

  local function parse_record(text)
    local state, drop, fingerprint, units, actual, live = match(text, RECORD)
    local record = {
      state = tonumber(state), drop = tonumber(drop), fingerprint = fingerprint, units = tonumber(units),
      actual = actual, deadline = 0, until_ms = 0, lost = 0, refs = '-', amounts = false,
    }
    if live ~= '' then
      local deadline, until_ms, lost, refs, amounts = match(live, LIVE_RECORD)
      record.deadline, record.until_ms, record.lost = tonumber(deadline), tonumber(until_ms), tonumber(lost)
      record.refs, record.amounts, record.held = refs, amounts_of(amounts), amounts
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
    if list.known and record.refs == refs_of(list, record.amounts) then
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

  ---------------------------------------------------------------------------------------------- changing

  -- Calls visit(cell, amount, meter) for everything a hold has in the accounts of a command.
  local function each(record, list, visit)
    local amounts, letters = record.amounts, record.letters
    for at = 1, #list do
      local acc = list[at]
      if letters then
        acc.changed = acc.changed or letters[at] ~= ''
        for place = 1, #letters[at] do
          local meter = byte(letters[at], place) - BEFORE_A
          visit(cell_of(acc, meter), amounts[meter], meter)
        end
      else
        acc.changed = true
        for place = acc.first, acc.last do
          local meter = cells[place][METER]
          if amounts[meter] >= 0 then
            visit(cells[place], amounts[meter], meter)
          end
        end
      end
    end
  end

  -- Slots are never spent. (both)
  local function overflows(record, list, actuals)
    local over = false
    each(record, list, function(cell, amount, meter)
      local actual = IS_SLOT[meter] and 0 or actuals[meter]
      over = over or actual > amount and cell[SPENT] + cell[HELD] - amount + actual > MAX
    end)
    return over
  end

  local function give_back(record, list)
    local live = record.state == S_HELD
    each(record, list, function(cell, amount, meter)
      whole(cell)
      if live then
        cell[HELD] = cell[HELD] - amount
      elseif IS_SLOT[meter] then
        return -- given back when the hold was lost
      else
        cell[PRESUMED_SUM] = cell[PRESUMED_SUM] - amount
        cell[SPENT] = cell[SPENT] - amount
      end
      grow(cell, GIVEN_BACK, amount)
    end)
  end

  local function presume(record, list)
    each(record, list, function(cell, amount, meter)
      whole(cell)
      cell[HELD] = cell[HELD] - amount
      if IS_SLOT[meter] then -- what it stood for has ended
        return grow(cell, GIVEN_BACK, amount)
      end
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

  -- (both)
  local function settle(record, list, actuals)
    local live = record.state == S_HELD
    each(record, list, function(cell, amount, meter)
      local actual = actuals[meter]
      if IS_SLOT[meter] then
        if not live then
          return -- given back when the hold was lost
        end
        actual = 0
      elseif actual < 0 then
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
        grow(cell, OVERRUN, actual - amount)
      elseif actual < amount then
        grow(cell, REFUND, amount - actual)
      end
    end)
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

  ---------------------------------------------------------------------------------------------- the verbs

  -- The first of the hardest refusals: waiting for one account is no use while another is exhausted. (both)
  local function refusal(list, amounts)
    local rank, worst = 0, nil
    for at = 1, #list do
      local acc = list[at]
      for place = acc.first, acc.last do
        local cell = cells[place]
        local amount, limit, spent, held = amounts[cell[METER]], cell[LIMIT], cell[SPENT], cell[HELD]
        if amount >= 0 and spent + held + amount > limit then
          local kind = amount > limit and NEVER_FITS or (spent + amount > limit and EXHAUSTED or IN_FLIGHT)
          if kind > rank then
            rank, worst = kind, {DENIED, at - 1, place - acc.first, kind, limit, spent, held, amount}
          end
        end
      end
    end
    return worst
  end

  -- Who waits for an account, without those whose time has passed; its text until it is asked for.
  local function queue_of(acc)
    local queue = acc.queue
    if type(queue) ~= 'table' then
      queue = {waiting = {}, count = 0, oldest = false, changed = false}
      for ticket, until_ms in gmatch(acc.queue or '', '(%S+) (%d+)') do
        if until_ms + 0 > now then
          queue.waiting[ticket], queue.count = until_ms + 0, queue.count + 1
        end
      end
      queue.changed = acc.queue and queue.count == 0 -- then the field goes
      acc.queue = queue
    end
    return queue
  end

  local function oldest(acc)
    local queue = acc.queue and queue_of(acc)
    if queue and not queue.oldest then
      for ticket in pairs(queue.waiting) do
        if not queue.oldest or ticket < queue.oldest then
          queue.oldest = ticket
        end
      end
    end
    return queue and queue.oldest
  end

  -- The refusal of a reserve that would overtake a queued one. Where it takes nothing it overtakes none.
  local function find_overtaken(list, amounts, own)
    for at = 1, #list do
      local acc = list[at]
      for place = acc.first, acc.last do
        local cell = cells[place]
        local amount = amounts[cell[METER]]
        if amount > 0 then
          local first = oldest(acc)
          if first and (own == '' or first < own) then
            return {DENIED, at - 1, place - acc.first, IN_FLIGHT, cell[LIMIT], cell[SPENT], cell[HELD], amount}
          end
          break
        end
      end
    end
    return nil
  end

  -- The caller waits no more.
  local function leave_queues(list, own)
    for at = 1, #list do
      local queue = list[at].queue and queue_of(list[at])
      if queue and queue.waiting[own] then
        queue.waiting[own], queue.count, queue.changed = nil, queue.count - 1, true
        queue.oldest = queue.oldest ~= own and queue.oldest
      end
    end
  end

  -- Queues a ticket on the account that refused it, and renews it on the others it stands on.
  local function enter_queue(list, own, wait, refusing)
    for at = 1, #list do
      local queue = queue_of(list[at])
      local known = queue.waiting[own]
      if known or at == refusing and queue.count < TICKETS_MAX then
        queue.waiting[own], queue.count, queue.changed = now + wait, queue.count + (known and 0 or 1), true
        queue.oldest = queue.oldest and queue.oldest < own and queue.oldest -- else to be found anew
        todo.queued = true
      end
    end
  end

  local function units_that_fit(list, amounts, step, least, most)
    local units = most
    for at = 1, #list.cells do
      local cell = list.cells[at]
      local amount, unit = amounts[cell[METER]], step[cell[METER]]
      if unit > 0 and amount >= 0 then
        local room = max(cell[LIMIT] - cell[SPENT] - cell[HELD] - amount, 0)
        units = min(units, (room - math.fmod(room, unit)) / unit) -- exact, where floor(a / b) may round up
      end
    end
    return max(units, least)
  end

  -- The amounts of a capped hold, and as text.
  local function capped(amounts, units, step)
    local sum, text = {}, ''
    for meter = 1, #METERS do
      sum[meter] = amounts[meter]
      if amounts[meter] >= 0 then
        sum[meter] = amounts[meter] + units * max(step[meter], 0)
        text = text .. format('%c%d', BEFORE_A + meter, sum[meter])
      end
    end
    sum.mask = amounts.mask
    return sum, text == '' and '-' or text
  end

  -- (both)
  local function enter_hold(index, list, amounts, held, lease, lost, fingerprint, units)
    local until_ms = keep(list)
    for at = 1, #list do
      list[at].changed = true
    end
    for at = 1, #list.cells do
      local cell = list.cells[at]
      local amount = amounts[cell[METER]]
      if amount >= 0 then
        cell[HELD] = cell[HELD] + amount
        grow(cell, RESERVED, amount)
      end
    end
    holds[index] = {
      state = S_HELD, drop = 0, fingerprint = fingerprint, units = units, actual = '-', changed = true,
      deadline = min(now + min(lease, LEASE_MAX), until_ms), until_ms = until_ms, lost = lost, list = list,
      amounts = amounts, held = held,
    }
  end

  local function reserve(at)
    local index, list, lease, lost, fingerprint = flat[at + 1], sets[flat[at + 2]], flat[at + 4], flat[at + 5], flat[at + 6]
    local ticket, wait = '', 0
    if flat[at] == 8 then
      ticket, wait = flat[at + 10], flat[at + 11]
    end
    local known = hold(index)
    if known then
      if known.state == S_FORGIVEN or known.fingerprint ~= '-' and known.fingerprint ~= fingerprint then
        return put(MISMATCH)
      elseif known.state == S_RELEASED or known.state == S_ORPHAN then
        return put(CANCELLED)
      end
      put(GRANTED)
      return put(known.units)
    elseif not list.open then
      return put(WRONG_WINDOW)
    end
    local amounts, held, units = amounts_of(flat[at + 3]), flat[at + 3], 0
    if flat[at] >= 7 and flat[at + 8] > 0 then
      local step = amounts_of(flat[at + 9])
      units = units_that_fit(list, amounts, step, flat[at + 7], flat[at + 8])
      amounts, held = capped(amounts, units, step)
    end
    local worst = refusal(list, amounts) or find_overtaken(list, amounts, ticket)
    if worst then
      for place = 1, #worst do
        put(worst[place])
      end
      if ticket ~= '' and worst[4] == IN_FLIGHT and wait > 0 then
        enter_queue(list, ticket, wait, worst[2] + 1)
      elseif ticket ~= '' then
        leave_queues(list, ticket)
      end
      return nil
    end
    if ticket ~= '' then
      leave_queues(list, ticket)
    end
    enter_hold(index, list, amounts, held, lease, lost, fingerprint, units)
    put(GRANTED)
    return put(units)
  end

  local function commit_orphan(at)
    local list, actuals = sets[flat[at + 2]], amounts_of(flat[at + 3])
    for place = 1, #list.cells do
      local cell = list.cells[place]
      local actual = actuals[cell[METER]]
      if actual >= 0 and not IS_SLOT[cell[METER]] and cell[SPENT] + cell[HELD] + actual > MAX then
        return put(OVERFLOW)
      end
    end
    for place = 1, #list.cells do
      local cell = list.cells[place]
      local actual = actuals[cell[METER]]
      if actual >= 0 and not IS_SLOT[cell[METER]] then
        cell[SPENT] = cell[SPENT] + actual
        cell[ORPHANED] = cell[ORPHANED] + 0
        grow(cell, ORPHANED, actual)
        cell[ORPHANED] = format('%d', cell[ORPHANED])
      end
    end
    keep(list)
    close(flat[at + 1], blank(), S_ORPHAN, flat[at + 3], flat[at + 4])
    return put(ORPHAN)
  end

  local function commit(at)
    local index, list, actual, keep_ms = flat[at + 1], sets[flat[at + 2]], flat[at + 3], flat[at + 4]
    local record = hold(index)
    if not record then
      return commit_orphan(at)
    elseif REPEATED[record.state] then
      return put(record.actual == actual and REPEATED[record.state] or MISMATCH)
    elseif record.state == S_RELEASED then
      return commit_orphan(at)
    elseif record.state == S_FORGIVEN then
      return put(MISMATCH)
    end
    local verdict = compare(record, list)
    if verdict == 'other' then
      return put(MISMATCH)
    end
    if record.state == S_HELD and now >= record.deadline then
      lose(record, list)
    end
    if record.state == S_RELEASED or verdict == 'gone' then
      return commit_orphan(at)
    elseif overflows(record, list, amounts_of(actual)) then
      return put(OVERFLOW)
    end
    local state = record.state == S_HELD and S_COMMITTED or S_LATE
    settle(record, list, amounts_of(actual))
    close(index, record, state, actual, keep_ms)
    return put(REPEATED[state])
  end

  local function release(at)
    local index, keep_ms = flat[at + 1], flat[at + 3]
    local record = hold(index)
    if not record then
      close(index, blank(), S_RELEASED, '-', keep_ms)
    elseif REPEATED[record.state] or record.state == S_FORGIVEN then
      return put(MISMATCH)
    elseif record.state ~= S_RELEASED then
      local list = sets[flat[at + 2]]
      if compare(record, list) == 'other' then
        return put(MISMATCH)
      end
      give_back(record, list)
      close(index, record, S_RELEASED, '-', keep_ms)
    end
    return put(RELEASED)
  end

  local function extend(at)
    local record = hold(flat[at + 1])
    if not record or record.state ~= S_HELD or now >= record.deadline then
      return put(LOST)
    end
    record.deadline, record.changed = min(now + min(flat[at + 2], LEASE_MAX), record.until_ms), true
    return put(EXTENDED)
  end

  local function expire(at)
    local record, list = hold(flat[at + 1]), sets[flat[at + 2]]
    if not record or record.state ~= S_HELD or now < record.deadline then
      return put(KEPT)
    elseif compare(record, list) == 'other' then
      return put(MISMATCH)
    end
    lose(record, list)
    return put(PRESUMED)
  end

  -- Spent falls, but not below what is presumed: that may still be settled.
  local function forgive(at)
    local index, list, actual, keep_ms = flat[at + 1], sets[flat[at + 2]], flat[at + 3], flat[at + 4]
    local record = hold(index)
    if record then
      return put(record.state == S_FORGIVEN and record.actual == actual and FORGIVEN or MISMATCH)
    end
    local amounts = amounts_of(actual)
    for n = 1, #list do
      local acc = list[n]
      for place = acc.first, acc.last do
        local cell = cells[place]
        local amount = min(amounts[cell[METER]], cell[SPENT])
        if amount > 0 then
          whole(cell)
          amount = min(amount, cell[SPENT] - cell[PRESUMED_SUM])
          cell[SPENT] = cell[SPENT] - amount
          grow(cell, REFUND, amount)
          acc.changed = true
        end
      end
    end
    close(index, blank(), S_FORGIVEN, actual, keep_ms)
    return put(FORGIVEN)
  end

  ---------------------------------------------------------------------------------------------- writing

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
    acc.aged = acc.drop > 0
  end

  -- What is to be written of a queue: nil if it is as it was, '' if none waits any more.
  local function queue_text(acc)
    if type(acc.queue) ~= 'table' or not acc.queue.changed then
      return nil
    end
    local parts = {}
    for ticket, until_ms in pairs(acc.queue.waiting) do
      parts[#parts + 1] = format('%s %d', ticket, until_ms)
    end
    return table.concat(parts, ' ')
  end

  -- Settled holds need not know any more what they held where.
  local function record_text(record)
    local head = format('%d %d %s %d %s', record.state, record.drop, record.fingerprint, record.units, record.actual)
    if record.state ~= S_HELD and record.state ~= S_PRESUMED then
      return head
    end
    local refs = record.list and refs_of(record.list, record.amounts) or record.refs
    return format('%s %d %d %d %s %s', head, record.deadline, record.until_ms, record.lost, refs, record.held)
  end

  local function list_holds()
    for index, record in pairs(holds) do
      local id, key = flat[ids + index], KEYS[3 + #accounts + index]
      if record and record.changed then
        local text = record_text(record)
        if record.state == S_HELD then
          local live, dated = todo.live, todo.dated
          live[#live + 1], live[#live + 2] = key, text
          dated[#dated + 1], dated[#dated + 2] = format('%d', record.deadline), id
        else
          local closed = todo.closed
          closed[#closed + 1], closed[#closed + 2], closed[#closed + 3] = key, text, format('%d', record.drop)
        end
      end
      if record and (record.gone or record.changed and record.state ~= S_HELD) and texts[index] then
        todo.ended[#todo.ended + 1] = id
        if record.gone then
          todo.gone[#todo.gone + 1] = key
        end
      end
    end
  end

  return {
    reserve, commit, release, extend, expire, false, reserve, reserve, forgive,
    widths = {7, 5, 4, 3, 3, 1, 10, 12, 5}, open_account = open_account, list_holds = list_holds,
    queue_text = queue_text,
  }
end

------------------------------------------------------------------------------------------------ reading

local time = call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local flat = cjson.decode(ARGV[1])
local account_count, set_count, hold_count, command_count, once = flat[1], flat[2], flat[3], flat[4], flat[5] == 1
local cursor = 6

local accounts, cells, cell_count = {}, {nil, nil, nil, nil, nil, nil, nil, nil}, 0
for index = 1, account_count do
  local key, count = KEYS[3 + index], flat[cursor + 4]
  local raw = call('HMGET', key, 'n', 'x', 'about', 'q', unpack(flat, cursor + 5, cursor + 4 + count))
  local n, drop, about, stale = raw[1], (raw[2] or 0) + 0, raw[3], false
  if n and drop > 0 and drop <= now then -- past its keeping time: forgotten, if not yet collected
    n, drop, about, raw, stale = false, 0, false, {}, true
  end
  accounts[index] = {
    key = key, start = flat[cursor], finish = flat[cursor + 1], keep = flat[cursor + 2], letters = flat[cursor + 3],
    fields = cursor + 5, first = cell_count + 1, last = cell_count + count, n = n, drop = drop, about = about,
    stale = stale, changed = false, aged = false, sure = false, queue = raw[4] or false, -- 16: a table of no waste
  }
  cursor = cursor + 5 + count
  for place = 1, count do
    local text, meter, limit = raw[4 + place], flat[cursor], flat[cursor + 1]
    cell_count, cursor = cell_count + 1, cursor + 2
    if text then
      local spent, held, reserved, settled, three, refund, orphaned = match(text, CELL)
      cells[cell_count] = {spent + 0, held + 0, reserved + 0, settled + 0, refund + 0, meter, limit, three, orphaned}
    else
      cells[cell_count] = {0, 0, 0, 0, 0, meter, limit, '0 0 0', '0'}
    end
  end
end

-- A set is a list of accounts; it has their cells in a row, and knows what is the same for every command on it.
local sets = {}
for index = 1, set_count do
  local count, list = flat[cursor], nil
  if count < 0 then
    list = {
      cells = cells, known = true, open = true, queued = false, changed = false, until_ms = false, mask = -1, refs = '-',
      unpack(accounts)
    }
  else
    list = {
      cells = {}, known = true, open = true, queued = false, changed = false, until_ms = false, mask = -1, refs = '-',
    }
    for at = 1, count do
      local acc = accounts[flat[cursor + at]]
      list[at] = acc
      for place = acc.first, acc.last do
        list.cells[#list.cells + 1] = cells[place]
      end
    end
    cursor = cursor + count
  end
  for at = 1, #list do
    local acc = list[at]
    list.known, list.queued = list.known and acc.n, list.queued or acc.queue
    if acc.finish > 0 and (now < acc.start or now >= acc.finish) then
      list.open = false
    end
  end
  cursor, sets[index] = cursor + 1, list
end

local ids, texts = cursor - 1, {}
cursor = cursor + hold_count
if hold_count > 0 then
  texts = call('MGET', unpack(KEYS, 4 + account_count, 3 + account_count + hold_count))
end

-- 'a1000b20' as a number a meter, -1 for a meter that has none; `mask` tells which it has.
local parsed = {}
local function amounts_of(text)
  local amounts = parsed[text]
  if not amounts then
    amounts = {$NO_AMOUNTS, mask = 0}
    for letter, amount in string.gmatch(text, '(%a)(%d+)') do
      local meter = string.byte(letter) - $BEFORE_A
      amounts[meter], amounts.mask = amount + 0, amounts.mask * 16 + meter
    end
    parsed[text] = amounts
  end
  return amounts
end

-- What a hold of these amounts on these accounts is written as: which account by number, which of its meters.
local function refs_of(list, amounts)
  if list.mask ~= amounts.mask then
    local refs = ''
    for at = 1, #list do
      local acc = list[at]
      local letters = acc.letters
      for place = acc.first, acc.last do
        local meter = cells[place][6]
        if amounts[meter] < 0 then
          letters = string.gsub(letters, string.char($BEFORE_A + meter), '')
        end
      end
      refs = refs .. (at > 1 and ',' or '') .. acc.n .. ':' .. letters
    end
    list.mask, list.refs = amounts.mask, refs ~= '' and refs or '-'
  end
  return list.refs
end

local function cell_text(cell)
  local three = cell[8] or format('%d %d %d', cell[10], cell[11], cell[12])
  return format('%d %d %d %d %s %d %s', cell[1], cell[2], cell[3], cell[4], three, cell[5], cell[9])
end

-- Prolong the keeping of accounts; the moment until which all of them are sure to be kept.
local function keep(list)
  if list.until_ms then
    return list.until_ms
  end
  local until_ms = now + $YEAR
  for at = 1, #list do
    local acc = list[at]
    local drop, sure = acc.drop, now + $YEAR
    if acc.finish > 0 then
      sure = acc.finish + acc.keep
      drop = math.max(drop, sure) -- never shortened: another policy's holds may count on it
    elseif acc.keep > 0 then
      local step = math.floor(acc.keep / 8)
      sure = math.min(sure, now + acc.keep - step)
      drop = math.max(acc.drop, now + acc.keep)
      if drop - acc.drop <= step then
        drop = acc.drop
      end
    end
    if not acc.sure and drop ~= acc.drop then
      acc.drop, acc.aged = drop, true
    end
    acc.sure, acc.changed = true, true
    if sure < until_ms then
      until_ms = sure
    end
  end
  list.until_ms = until_ms
  return until_ms
end

------------------------------------------------------------------------------------------------ the commands

-- One write each at the end; `closed` one for each hold: {key, text, ...}, {deadline, id, ...}, {key, text, drop, ...}
local todo = {live = {}, dated = {}, closed = {}, ended = {}, gone = {}, queued = false}
local live, dated, closed, ended, gone = todo.live, todo.dated, todo.closed, todo.ended, todo.gone
local out = {now, call('ZCOUNT', KEYS[1], '-inf', format('%d', now)), nil, nil, nil, nil, nil, nil, nil, nil, nil, nil}
local rest = false -- what `seldom` makes

for _ = 1, command_count do
  local verb, index, list = flat[cursor], flat[cursor + 1], sets[flat[cursor + 2]]
  local plain, width = false, 1
  if verb == 1 and once and not texts[index] and list.known and list.open and not (list.queued or todo.queued) then
    -- reserve, of an unknown id, on accounts that exist and have no queue
    local amounts, cells = amounts_of(flat[cursor + 3]), list.cells
    plain, width = true, 7
    for at = 1, #cells do
      local cell = cells[at]
      local amount = amounts[cell[METER]]
      if amount >= 0 and cell[SPENT] + cell[HELD] + amount > cell[LIMIT] then -- (both)
        plain = false
        break
      end
    end
    if plain then
      for at = 1, #cells do -- (both)
        local cell = cells[at]
        local amount = amounts[cell[METER]]
        if amount >= 0 then
          local sum = cell[RESERVED] - TWO53 + amount
          cell[HELD] = cell[HELD] + amount
          cell[RESERVED] = sum < 0 and sum + TWO53 or sum
        end
      end
      local until_ms, lease = list.until_ms or keep(list), flat[cursor + 4]
      local deadline = now + (lease < LEASE_MAX and lease or LEASE_MAX)
      if deadline > until_ms then
        deadline = until_ms
      end
      live[#live + 1], live[#live + 2] = KEYS[3 + account_count + index], format(
        '1 0 %s 0 - %d %d %d %s %s',
        flat[cursor + 6], deadline, until_ms, flat[cursor + 5], refs_of(list, amounts), flat[cursor + 3]
      )
      dated[#dated + 1], dated[#dated + 2] = format('%d', deadline), flat[ids + index]
      out[#out + 1], out[#out + 2] = GRANTED, 0
    end
  elseif verb == 2 and once and texts[index] and list.known then
    -- commit, of a live hold in time, by those who made it
    local told, deadline, refs, held = match(texts[index], LIVE)
    if told and now < deadline + 0 then
      local amounts, actual, keep_ms = amounts_of(held), flat[cursor + 3], flat[cursor + 4]
      local actuals, cells = amounts_of(actual), list.cells
      plain, width = refs == refs_of(list, amounts), 5
      for at = 1, #cells do
        local cell = cells[at]
        local amount, spent = amounts[cell[METER]], actuals[cell[METER]]
        if amount >= 0 and spent > amount then -- an overrun has sums of its own to move, and may be too much
          plain = false
          break
        end
      end
      if plain then
        local slots = amounts[RUN_SLOTS] >= 0 or amounts[CALL_SLOTS] >= 0
        for at = 1, #cells do -- (both)
          local cell = cells[at]
          local meter = cell[METER]
          local amount, spent = amounts[meter], actuals[meter]
          if slots and (meter == RUN_SLOTS or meter == CALL_SLOTS) then
            spent = 0
          end
          if amount >= 0 then
            local sum = cell[SETTLED] - TWO53 + amount
            cell[SETTLED] = sum < 0 and sum + TWO53 or sum
            cell[HELD] = cell[HELD] - amount
            if spent < 0 then
              spent = amount
            elseif spent < amount then
              sum = cell[REFUND] - TWO53 + amount - spent
              cell[REFUND] = sum < 0 and sum + TWO53 or sum
            end
            cell[SPENT] = cell[SPENT] + spent
          end
        end
        if not list.changed then
          for at = 1, #list do
            list[at].changed = true
          end
          list.changed = true
        end
        ended[#ended + 1] = flat[ids + index]
        if keep_ms > 0 then
          local drop, size = format('%d', now + keep_ms), #closed
          closed[size + 1], closed[size + 2] = KEYS[3 + account_count + index], format('2 %s %s %s', drop, told, actual)
          closed[size + 3] = drop
        else
          gone[#gone + 1] = KEYS[3 + account_count + index]
        end
        out[#out + 1] = COMMITTED
      end
    end
  elseif verb == 6 then
    out[#out + 1], plain = READ, true
  end
  if not plain then
    rest = rest or seldom(now, flat, ids, accounts, sets, cells, texts, out, todo, keep, refs_of, amounts_of)
    width = rest.widths[verb]
    rest[verb](cursor)
  end
  cursor = cursor + width
end

------------------------------------------------------------------------------------------------ writing

local emptied = {} -- the keys of accounts whose queue is empty by now
local words = {nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil} -- of one HSET after the other
for index = 1, account_count do
  local acc, queue = accounts[index], rest and rest.queue_text(accounts[index])
  if acc.changed or queue then
    local count, fields = 0, acc.fields - acc.first
    if acc.changed then
      if not acc.n then
        rest.open_account(acc)
        words[1], words[2], words[3], words[4] = 'n', acc.n, 'x', '0'
        count = 4
      end
      if acc.aged then
        words[count + 1], words[count + 2] = 'x', format('%d', acc.drop)
        count = count + 2
      end
      if acc.sure and acc.about ~= ARGV[1 + index] then
        words[count + 1], words[count + 2] = 'about', ARGV[1 + index]
        count = count + 2
      end
      for place = acc.first, acc.last do
        words[count + 1], words[count + 2] = flat[fields + place], cell_text(cells[place])
        count = count + 2
      end
      if acc.others then
        for name, cell in pairs(acc.others) do
          words[count + 1], words[count + 2] = name, cell_text(cell)
          count = count + 2
        end
      end
    end
    if queue == '' then
      emptied[#emptied + 1] = acc.key
    elseif queue then
      words[count + 1], words[count + 2] = 'q', queue
      count = count + 2
    end
    if count > 0 then
      call('HSET', acc.key, unpack(words, 1, count))
    end
    if acc.aged then
      call('PEXPIREAT', acc.key, format('%d', acc.drop))
      call('ZADD', KEYS[3], format('%d', acc.drop), acc.n)
    end
  end
end

if rest then
  rest.list_holds()
end
for at = 1, #closed, 3 do
  call('SET', closed[at], closed[at + 1], 'PXAT', closed[at + 2])
end
if #gone > 0 then
  call('DEL', unpack(gone))
end
if #live > 0 then
  call('MSET', unpack(live))
  call('ZADD', KEYS[1], unpack(dated))
end
if #ended > 0 then
  call('ZREM', KEYS[1], unpack(ended))
end

for at = 1, #emptied do
  call('HDEL', emptied[at], 'q')
end

local size = #out
for place = 1, cell_count do
  local cell = cells[place]
  out[size + 1], out[size + 2] = cell[SPENT], cell[HELD]
  size = size + 2
end
return out
