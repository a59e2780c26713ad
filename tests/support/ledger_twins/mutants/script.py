"""Mistakes in `ledger.lua`."""

from __future__ import annotations

SCRIPT = {
    # admission
    "a limit may not be reached": (
        "if amount >= 0 and spent + held + amount > limit then",
        "if amount >= 0 and spent + held + amount >= limit then",
    ),
    "a limit may be passed by one": (
        "if amount >= 0 and spent + held + amount > limit then",
        "if amount >= 0 and spent + held + amount > limit + 1 then",
    ),
    "what is held is skipped on admission": (
        "if amount >= 0 and spent + held + amount > limit then",
        "if amount >= 0 and spent + amount > limit then",
    ),
    "what is spent is skipped on admission": (
        "if amount >= 0 and spent + held + amount > limit then",
        "if amount >= 0 and held + amount > limit then",
    ),
    "only the first account is asked": (
        "local rank, worst = 0, nil\n    for at = 1, #list do",
        "local rank, worst = 0, nil\n    for at = 1, 1 do",
    ),
    "exhausted is told as in flight": ("spent + amount > limit and EXHAUSTED", "spent > limit and EXHAUSTED"),
    "the last of equal refusals is told": ("if kind > rank then", "if kind >= rank then"),
    "the end of a window is still inside": ("now >= acc.finish)", "now > acc.finish)"),
    "the start of a window is outside": ("(now < acc.start", "(now <= acc.start"),
    "windows are not looked at": ("if acc.finish > 0 and (now", "if false and (now"),
    "units are rounded to the nearest": (
        "units = min(units, (room - math.fmod(room, unit)) / unit)",
        "units = min(units, math.floor(room / unit + 0.5))",
    ),
    "a capped hold forgets its steps": (
        "sum[meter] = amounts[meter] + units * max(step[meter], 0)",
        "sum[meter] = amounts[meter]",
    ),
    # ids
    "the payload is not compared": ("known.fingerprint ~= '-' and known.fingerprint ~= fingerprint", "false"),
    "a repeated commit need not say the same": (
        "record.actual == actual and REPEATED[record.state]",
        "REPEATED[record.state]",
    ),
    "a release of an unknown id leaves no tombstone": ("close(index, blank(), S_RELEASED, '-', keep_ms)", ""),
    "a released id may be reserved again": (
        "elseif known.state == S_RELEASED or known.state == S_ORPHAN then",
        "elseif known.state == S_ORPHAN then",
    ),
    "an orphan's id may be reserved again": (
        "elseif known.state == S_RELEASED or known.state == S_ORPHAN then",
        "elseif known.state == S_RELEASED then",
    ),
    "a repeated reserve forgets its units": ("return put(known.units)", "return put(0)"),
    "whose accounts they are is not asked": ("return at == #list and verdict or 'other'", "return verdict"),
    "another account of the same number of meters will do": (
        "if key and key ~= acc.key then",
        "if false then",
    ),
    # holding and settling
    "the reserved sum is forgotten": ("grow(cell, RESERVED, amount)", ""),
    "the settled sum is forgotten": ("grow(cell, SETTLED, amount)", ""),
    "a settled hold is held for ever": (
        "if live then\n        cell[HELD] = cell[HELD] - amount\n        cell[SPENT] = cell[SPENT] + actual",
        "if live then\n        cell[SPENT] = cell[SPENT] + actual",
    ),
    "a commit charges what was held": (
        "cell[HELD] = cell[HELD] - amount\n        cell[SPENT] = cell[SPENT] + actual",
        "cell[HELD] = cell[HELD] - amount\n        cell[SPENT] = cell[SPENT] + amount",
    ),
    "a meter left out settles at nothing": ("        actual = amount\n", "        actual = 0\n"),
    "a late commit is added to the presumption": (
        "cell[SPENT] = cell[SPENT] - amount + actual",
        "cell[SPENT] = cell[SPENT] + actual",
    ),
    "an overrun is not recorded": ("grow(cell, OVERRUN, actual - amount)", ""),
    "an orphan is not recorded": ("grow(cell, ORPHANED, actual)", ""),
    "an orphan may overflow": ("cell[SPENT] + cell[HELD] + actual > MAX then", "false then"),
    "a commit may overflow": (
        "over = over or actual > amount and cell[SPENT] + cell[HELD] - amount + actual > MAX",
        "",
    ),
    "sums that only grow leave the exact integers": (
        "cell[place] = sum < 0 and sum + TWO53 or sum",
        "cell[place] = sum + TWO53",
    ),
    "numbers become text with 14 digits": (
        "return format('%d %d %d %d %s %d %s', cell[1],",
        "return format('%.14g %d %d %d %s %d %s', cell[1],",
    ),
    # leases
    "what is presumed is not spent": (
        "cell[PRESUMED_SUM] = cell[PRESUMED_SUM] + amount\n      cell[SPENT] = cell[SPENT] + amount",
        "cell[PRESUMED_SUM] = cell[PRESUMED_SUM] + amount",
    ),
    "what is lost is always charged": ("if record.lost == 0 then", "if true then"),
    "a hold is lost a moment late": (
        "if not record or record.state ~= S_HELD or now < record.deadline then",
        "if not record or record.state ~= S_HELD or now <= record.deadline then",
    ),
    "a hold that is not due is presumed": (
        "if not record or record.state ~= S_HELD or now < record.deadline then",
        "if not record or record.state ~= S_HELD then",
    ),
    "a lost hold can be extended": (
        "if not record or record.state ~= S_HELD or now >= record.deadline then",
        "if not record or record.state ~= S_HELD then",
    ),
    "an extension outlasts the accounts": (
        "min(now + min(flat[at + 2], LEASE_MAX), record.until_ms), true",
        "now + min(flat[at + 2], LEASE_MAX), true",
    ),
    "a lease may last longer than a day": (
        "deadline = min(now + min(lease, LEASE_MAX), until_ms)",
        "deadline = min(now + lease, until_ms)",
    ),
    "a lease outlasts the accounts": (
        "deadline = min(now + min(lease, LEASE_MAX), until_ms)",
        "deadline = now + min(lease, LEASE_MAX)",
    ),
    "a late commit is taken for one in time": (
        "if record.state == S_HELD and now >= record.deadline then",
        "if false then",
    ),
    "a settled hold stays in the index of deadlines": ("todo.ended[#todo.ended + 1] = id\n", ""),
    "a presumption is not remembered": (
        "record.drop, record.changed = now + PRESUMED_KEEP, true",
        "record.drop = 1",
    ),
    # keeping
    "a forgotten hold still answers": (
        "if found and found.drop > 0 and found.drop <= now then\n      return nil",
        "if false then\n      return nil",
    ),
    "a forgotten account still counts": ("if n and drop > 0 and drop <= now then", "if false then"),
    "a forgotten account's old fields come back": (
        "    if acc.stale then\n      call('DEL', acc.key)\n    end\n",
        "",
    ),
    "a forgotten account takes the rest of the hold along": (
        "held, verdict = '', 'gone'",
        "verdict = 'gone'\n      record.letters = {}\n      for i = 1, #list do record.letters[i] = '' end\n      return 'gone'",
    ),
    "another policy shortens an account's time": ("drop = math.max(drop, sure)", "drop = sure"),
    "an idle account is not prolonged": (
        "drop = math.max(acc.drop, now + acc.keep)",
        "drop = math.max(acc.drop, 1)",
    ),
    "a reserve keeps no account": ("acc.aged = acc.drop > 0", "acc.aged = false"),
    # slots
    "a lost hold keeps its slots": ("if IS_SLOT[meter] then -- what it stood for has ended", "if false then"),
    "the slots of a lost hold vanish": ("return grow(cell, GIVEN_BACK, amount)", "return nil"),
    "a late release gives slots back again": (
        "elseif IS_SLOT[meter] then\n        return -- given back when the hold was lost",
        "elseif false then\n        return",
    ),
    "a late commit settles slots again": (
        "if not live then\n          return -- given back when the hold was lost\n        end",
        "",
    ),
    "slots are spent": (
        "        actual = 0\n      elseif actual < 0 then",
        "        actual = actual < 0 and amount or actual\n      elseif actual < 0 then",
    ),
    "an orphan spends slots": ("if actual >= 0 and not IS_SLOT[cell[METER]] then", "if actual >= 0 then"),
    "what an orphan says of slots may overflow": ("not IS_SLOT[cell[METER]] and cell[SPENT]", "cell[SPENT]"),
    # forgiveness
    "what is presumed is forgiven": ("amount = min(amount, cell[SPENT] - cell[PRESUMED_SUM])", ""),
    "what is forgiven is not refunded": ("grow(cell, REFUND, amount)\n          acc.changed", "acc.changed"),
    "what is forgiven is not written": (
        "acc.changed = true\n        end\n      end\n    end\n    close",
        "end\n      end\n    end\n    close",
    ),
    "forgiveness is repeated": ("close(index, blank(), S_FORGIVEN, actual, keep_ms)", ""),
    "forgiveness need not say the same": (
        "record.state == S_FORGIVEN and record.actual == actual and FORGIVEN",
        "record.state == S_FORGIVEN and FORGIVEN",
    ),
    "any known id may be forgiven": (
        "record.state == S_FORGIVEN and record.actual == actual and FORGIVEN",
        "record.actual == actual and FORGIVEN",
    ),
    "what was forgiven may be reserved": ("if known.state == S_FORGIVEN or known", "if known"),
    "what was forgiven may be released": (
        "elseif REPEATED[record.state] or record.state == S_FORGIVEN then",
        "elseif REPEATED[record.state] then",
    ),
}
