"""Would we notice? Each mutant is the script with one deliberate mistake, and the comparison must find it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from ledger_twins import Disagreement, compare_ledgers

from costscope.errors import StoreError
from costscope_valkey.codec import source_of

# what the mistake is: the text of the script, and what it becomes
MUTANTS = {
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
    "exhausted is told as in flight": (
        "spent + amount > limit and EXHAUSTED",
        "spent > limit and EXHAUSTED",
    ),
    "the last of equal refusals is told": (
        "if kind > rank then",
        "if kind >= rank then",
    ),
    "the end of a window is still inside": (
        "now >= acc.finish)",
        "now > acc.finish)",
    ),
    "the start of a window is outside": (
        "(now < acc.start",
        "(now <= acc.start",
    ),
    "windows are not looked at": (
        "if acc.finish > 0 and (now",
        "if false and (now",
    ),
    "units are rounded to the nearest": (
        "units = min(units, (room - math.fmod(room, unit)) / unit)",
        "units = min(units, math.floor(room / unit + 0.5))",
    ),
    "units ignore what is held": (
        "max(cell[LIMIT] - cell[SPENT] - cell[HELD] - amount, 0)",
        "max(cell[LIMIT] - cell[SPENT] - amount, 0)",
    ),
    "a capped hold forgets its steps": (
        "sum[meter] = amounts[meter] + units * max(step[meter], 0)",
        "sum[meter] = amounts[meter]",
    ),
    # ids
    "the payload is not compared": (
        "known.fingerprint ~= '-' and known.fingerprint ~= fingerprint",
        "false",
    ),
    "a repeated commit need not say the same": (
        "record.actual == actual and REPEATED[record.state]",
        "REPEATED[record.state]",
    ),
    "a release of an unknown id leaves no tombstone": (
        "close(index, blank(), S_RELEASED, '-', keep_ms)",
        "",
    ),
    "a released id may be reserved again": (
        "elseif known.state == S_RELEASED or known.state == S_ORPHAN then",
        "elseif known.state == S_ORPHAN then",
    ),
    "an orphan's id may be reserved again": (
        "elseif known.state == S_RELEASED or known.state == S_ORPHAN then",
        "elseif known.state == S_RELEASED then",
    ),
    "a repeated reserve forgets its units": (
        "return put(known.units)",
        "return put(0)",
    ),
    "whose accounts they are is not asked": (
        "return at == #list and verdict or 'other'",
        "return verdict",
    ),
    "another account of the same number of meters will do": (
        "if key and key ~= acc.key then",
        "if false then",
    ),
    # holding and settling
    "the reserved sum is forgotten": (
        "grow(cell, RESERVED, amount)",
        "",
    ),
    "the settled sum is forgotten": (
        "grow(cell, SETTLED, amount)",
        "",
    ),
    "a settled hold is held for ever": (
        "if live then\n        cell[HELD] = cell[HELD] - amount\n        cell[SPENT] = cell[SPENT] + actual",
        "if live then\n        cell[SPENT] = cell[SPENT] + actual",
    ),
    "a commit charges what was held": (
        "cell[HELD] = cell[HELD] - amount\n        cell[SPENT] = cell[SPENT] + actual",
        "cell[HELD] = cell[HELD] - amount\n        cell[SPENT] = cell[SPENT] + amount",
    ),
    "a meter left out settles at nothing": (
        "        actual = amount\n",
        "        actual = 0\n",
    ),
    "a late commit is added to the presumption": (
        "cell[SPENT] = cell[SPENT] - amount + actual",
        "cell[SPENT] = cell[SPENT] + actual",
    ),
    "an overrun is not recorded": (
        "cell[OVERRUN] = cell[OVERRUN] + actual - amount",
        "",
    ),
    "an orphan is not recorded": (
        "cell[ORPHANED] = format('%d', cell[ORPHANED] + actual)",
        "",
    ),
    "an orphan may overflow": (
        "cell[SPENT] + cell[HELD] + actual > MAX then",
        "false then",
    ),
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
    "what is lost is always charged": (
        "if record.lost == 0 then",
        "if true then",
    ),
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
    "a settled hold stays in the index of deadlines": (
        "todo.ended[#todo.ended + 1] = id\n",
        "",
    ),
    "a presumption is not remembered": (
        "record.drop, record.changed = now + PRESUMED_KEEP, true",
        "record.drop = 1",
    ),
    # keeping
    "a forgotten hold still answers": (
        "if found and found.drop > 0 and found.drop <= now then\n      return nil",
        "if false then\n      return nil",
    ),
    "a forgotten account still counts": (
        "if n and drop > 0 and drop <= now then",
        "if false then",
    ),
    "a forgotten account's old fields come back": (
        "    if acc.stale then\n      call('DEL', acc.key)\n    end\n",
        "",
    ),
    "a forgotten account takes the rest of the hold along": (
        "held, verdict = '', 'gone'",
        "verdict = 'gone'\n      record.letters = {}\n      for i = 1, #list do record.letters[i] = '' end\n      return 'gone'",
    ),
    "another policy shortens an account's time": (
        "drop = math.max(drop, sure)",
        "drop = sure",
    ),
    "an idle account is not prolonged": (
        "drop = math.max(acc.drop, now + acc.keep)",
        "drop = math.max(acc.drop, 1)",
    ),
    "a reserve keeps no account": (
        "acc.aged = acc.drop > 0",
        "acc.aged = false",
    ),
    # slots
    "a lost hold keeps its slots": (
        "if IS_SLOT[meter] then -- what it stood for has ended",
        "if false then",
    ),
    "the slots of a lost hold vanish": (
        "return grow(cell, GIVEN_BACK, amount)",
        "return nil",
    ),
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
    "an orphan spends slots": (
        "if actual >= 0 and not IS_SLOT[cell[METER]] then",
        "if actual >= 0 then",
    ),
    "what is said of slots may overflow": (
        "IS_SLOT[meter] and 0 or actuals[meter]",
        "actuals[meter]",
    ),
    "what an orphan says of slots may overflow": (
        "not IS_SLOT[cell[METER]] and cell[SPENT]",
        "cell[SPENT]",
    ),
    "two choices of meters look the same": (
        "amounts.mask * 16 + meter",
        "amounts.mask * 7 + meter",
    ),
    # queues
    "whoever has no ticket goes first": (
        "if first and (own == '' or first < own) then",
        "if first and own ~= '' and first < own then",
    ),
    "the youngest ticket goes first": (
        "if first and (own == '' or first < own) then",
        "if first and (own == '' or first > own) then",
    ),
    "whoever takes nothing has to wait": (
        "if amount > 0 then\n          local first",
        "if amount >= 0 then\n          local first",
    ),
    "a ticket counts for ever": (
        "if until_ms + 0 > now then",
        "if true then",
    ),
    "a ticket counts a moment longer": (
        "if until_ms + 0 > now then",
        "if until_ms + 0 >= now then",
    ),
    "a granted ticket still counts": (
        "    if ticket ~= '' then\n      leave_queues(list, ticket)\n    end\n    enter_hold",
        "    enter_hold",
    ),
    "a ticket waits for what is exhausted": (
        "worst[4] == IN_FLIGHT and wait > 0",
        "wait > 0",
    ),
    "whoever cannot be served keeps the place": (
        "elseif ticket ~= '' then\n        leave_queues(list, ticket)",
        "elseif false then\n        leave_queues(list, ticket)",
    ),
    "a ticket is renewed where it is refused and nowhere else": (
        "if known or at == refusing and queue.count < TICKETS_MAX then",
        "if at == refusing and (known or queue.count < TICKETS_MAX) then",
    ),
    "a ticket is queued on every account": (
        "if known or at == refusing and",
        "if",
    ),
    "a queue is not written": (
        "queue.count + (known and 0 or 1), true",
        "queue.count + (known and 0 or 1), false",
    ),
    "whoever left is not taken off the list": (
        "nil, queue.count - 1, true",
        "nil, queue.count - 1, queue.changed",
    ),
    "a place that was given up is the oldest": (
        "queue.oldest = queue.oldest ~= own and queue.oldest",
        "",
    ),
    "an older ticket that comes later is overlooked": (
        "queue.oldest = queue.oldest and queue.oldest < own and queue.oldest",
        "",
    ),
    "the last one's place is kept": (
        "emptied[#emptied + 1] = acc.key",
        "",
    ),
    # forgiveness
    "what is presumed is forgiven": (
        "amount = min(amount, cell[SPENT] - cell[PRESUMED_SUM])",
        "",
    ),
    "what is forgiven is not refunded": (
        "grow(cell, REFUND, amount)\n          acc.changed",
        "acc.changed",
    ),
    "what is forgiven is not written": (
        "acc.changed = true\n        end\n      end\n    end\n    close",
        "end\n      end\n    end\n    close",
    ),
    "forgiveness is repeated": (
        "close(index, blank(), S_FORGIVEN, actual, keep_ms)",
        "",
    ),
    "forgiveness need not say the same": (
        "record.state == S_FORGIVEN and record.actual == actual and FORGIVEN",
        "record.state == S_FORGIVEN and FORGIVEN",
    ),
    "any known id may be forgiven": (
        "record.state == S_FORGIVEN and record.actual == actual and FORGIVEN",
        "record.actual == actual and FORGIVEN",
    ),
    "what was forgiven may be reserved": (
        "if known.state == S_FORGIVEN or known",
        "if known",
    ),
    "what was forgiven may be released": (
        "elseif REPEATED[record.state] or record.state == S_FORGIVEN then",
        "elseif REPEATED[record.state] then",
    ),
    # what every call does: the same rules once more, in the main chunk
    "straight: slots are spent": (
        "if slots and (meter == RUN_SLOTS or meter == CALL_SLOTS) then",
        "if false then",
    ),
    "straight: the slots of calls are spent": (
        "if slots and (meter == RUN_SLOTS or meter == CALL_SLOTS) then",
        "if slots and meter == RUN_SLOTS then",
    ),
    "straight: only the slots of runs are looked for": (
        "local slots = amounts[RUN_SLOTS] >= 0 or amounts[CALL_SLOTS] >= 0",
        "local slots = amounts[RUN_SLOTS] >= 0",
    ),
    "straight: those who wait are overtaken": (
        "not (list.queued or todo.queued)",
        "not todo.queued",
    ),
    "straight: those who began to wait in this batch are overtaken": (
        "not (list.queued or todo.queued)",
        "not list.queued",
    ),
    "straight: a limit may be passed by one": (
        "cell[SPENT] + cell[HELD] + amount > cell[LIMIT] then",
        "cell[SPENT] + cell[HELD] + amount > cell[LIMIT] + 1 then",
    ),
    "straight: what is held is skipped on admission": (
        "cell[SPENT] + cell[HELD] + amount > cell[LIMIT] then",
        "cell[SPENT] + amount > cell[LIMIT] then",
    ),
    "straight: what is spent is skipped on admission": (
        "cell[SPENT] + cell[HELD] + amount > cell[LIMIT] then",
        "cell[HELD] + amount > cell[LIMIT] then",
    ),
    "straight: only the first meter is asked": (
        "plain, width = true, 7\n    for at = 1, #cells do",
        "plain, width = true, 7\n    for at = 1, 1 do",
    ),
    "straight: windows are not looked at": (
        "and list.known and list.open and",
        "and list.known and",
    ),
    "straight: a known id is reserved again": (
        "and once and not texts[index] and list",
        "and once and list",
    ),
    "straight: a hold named twice is told from the server's text": (
        "flat[5] == 1\n",
        "true\n",
    ),
    "straight: nothing is held": (
        "          cell[HELD] = cell[HELD] + amount\n          cell[RESERVED]",
        "          cell[RESERVED]",
    ),
    "straight: the reserved sum is forgotten": (
        "cell[RESERVED] = sum < 0 and sum + TWO53 or sum",
        "",
    ),
    "straight: the reserved sum leaves the exact integers": (
        "cell[RESERVED] = sum < 0 and sum + TWO53 or sum",
        "cell[RESERVED] = sum + TWO53",
    ),
    "straight: a reserve does not prolong its accounts": (
        "list.until_ms or keep(list), flat",
        "list.until_ms or 4e15, flat",
    ),
    "straight: a lease may last longer than a day": (
        "(lease < LEASE_MAX and lease or LEASE_MAX)",
        "lease",
    ),
    "straight: a lease outlasts the accounts": (
        "if deadline > until_ms then",
        "if false then",
    ),
    "straight: an account that is forgotten does not matter": (
        "and once and texts[index] and list.known then",
        "and once and texts[index] then",
    ),
    "straight: a hold is lost a moment late": (
        "now < deadline + 0",
        "now <= deadline + 0",
    ),
    "straight: a late commit is taken for one in time": (
        "if told and now < deadline + 0 then",
        "if told then",
    ),
    "straight: whose accounts they are is not asked": (
        "refs == refs_of(list, amounts), 5",
        "true, 5",
    ),
    "straight: an overrun is not recorded": (
        "if amount >= 0 and spent > amount then",
        "if false then",
    ),
    "straight: a settled hold is held for ever": (
        "            cell[HELD] = cell[HELD] - amount\n            if",
        "            if",
    ),
    "straight: a commit charges what was held": (
        "cell[SPENT] = cell[SPENT] + spent",
        "cell[SPENT] = cell[SPENT] + amount",
    ),
    "straight: a meter left out settles at nothing": (
        "              spent = amount\n",
        "              spent = 0\n",
    ),
    "straight: the settled sum is forgotten": (
        "cell[SETTLED] = sum < 0 and sum + TWO53 or sum",
        "",
    ),
    "straight: the settled sum leaves the exact integers": (
        "cell[SETTLED] = sum < 0 and sum + TWO53 or sum",
        "cell[SETTLED] = sum + TWO53",
    ),
    "straight: a refund is not recorded": (
        "cell[REFUND] = sum < 0 and sum + TWO53 or sum",
        "",
    ),
    "straight: the refunds leave the exact integers": (
        "cell[REFUND] = sum < 0 and sum + TWO53 or sum",
        "cell[REFUND] = sum + TWO53",
    ),
    "straight: a commit is not written to its accounts": (
        "            list[at].changed = true\n",
        "",
    ),
    "straight: a settled hold stays in the index of deadlines": (
        "ended[#ended + 1] = flat[ids + index]\n",
        "\n",
    ),
    "straight: what need not be kept is kept": (
        "gone[#gone + 1] = KEYS[3 + account_count + index]\n",
        "\n",
    ),
    "straight: a commit forgets what was reserved": (
        "format('2 %s %s %s', drop, told, actual)",
        "format('2 %s - 0 %s', drop, actual)",
    ),
    "straight: a hold forgets its accounts' meters": (
        "letters = string.gsub(letters, string.char(96 + meter), '')",
        "",
    ),
}
# the same for the modules of costscope/ledger that the state machine is made of
PYTHON_MUTANTS = {
    "a limit may be passed by one": (
        "if cell.spent + cell.held + amount > brink:",
        "if cell.spent + cell.held + amount > brink + 1:",
    ),
    "whoever looks closer admits one more": (
        "cell.spent + cell.held + amount <= limit",
        "cell.spent + cell.held + amount <= limit + 1",
    ),
    "what a plan remembers is not compared": (
        "entries = plan.entries if plan.amounts == amounts else plan.entries_of(amounts)",
        "entries = plan.entries or plan.entries_of(amounts)",
    ),
    "an outdated plan is used": ("not plan.from_ms <= now_ms < plan.to_ms", "False"),
    "a lease outlasts the accounts": ("if deadline_ms > until_ms:", "if False:"),
    "a late commit is taken for one in time": (
        "if hold is None or hold.state is not _HELD or now_ms >= hold.deadline_ms:\n            return self._commit_after",
        "if hold is None or hold.state is not _HELD:\n            return self._commit_after",
    ),
    "whose accounts they are is not asked": (
        "if plan.accounts is not command.accounts and not same_accounts(hold, command.accounts):",
        "if False:",
    ),
    "a commit may overflow": (
        "if command.amounts is not request.amounts and _overflows(hold, actuals):",
        "if False:",
    ),
    "an overrun is not recorded": ("cell.overrun += actual - amount", "pass"),
    "what is held stays held": ("cell.held -= amount", "pass"),
    "a presumption is not spent": ('(cell, "spent", cell.spent + amount),\n', ""),
    "another policy shortens an account's time": ("max(book.drop_ms, end_ms + keep_ms)", "end_ms + keep_ms"),
    "an extension outlasts the accounts": (
        "min(now_ms + min(command.lease_ms, LEASE_MAX_MS), hold.until_ms)",
        "now_ms + min(command.lease_ms, LEASE_MAX_MS)",
    ),
    "a forgotten hold still answers": (
        "if hold is not None and 0 < hold.drop_ms <= now_ms:\n            return None",
        "if False:\n            return None",
    ),
    # slots
    "slots are spent": ("if plan.slots:", "if False:"),
    "a lost hold keeps its slots": (
        "if meter in SLOTS:\n                    writes.append",
        "if False:\n                    writes.append",
    ),
    "a late release gives slots back again": (
        "elif meter in SLOTS:\n            continue",
        "elif False:\n            continue",
    ),
    "a late commit settles slots again": (
        "if meter in SLOTS:\n                continue",
        "if False:\n                continue",
    ),
    "an orphan spends slots": (
        "if meter in actuals and meter not in SLOTS\n        ]",
        "if meter in actuals\n        ]",
    ),
    "what is said of slots may overflow": ("and meter not in SLOTS\n            and cell", "and cell"),
    # watching
    "a level is told one too late": ("return level - 1", "return level"),
    "a level is not watched": ("if watched == meter and level <= limit:", "if False:"),
    "a level that others have reached is not told": ("watched = True\n", "watched = amount > 0\n"),
    # queues
    "whoever has no ticket goes first": (
        "(not ticket or min(book.queue) < ticket)",
        "min(book.queue) < (ticket or '')",
    ),
    "the youngest ticket goes first": ("min(book.queue) < ticket", "max(book.queue) > ticket"),
    "whoever takes nothing has to wait": (
        "if wanted is None and amount:",
        "if wanted is None and meter in amounts:",
    ),
    "a ticket counts a moment longer": ("if until_ms <= now_ms]", "if until_ms < now_ms]"),
    "a short wait ends the queue": ("max(self._queued_ms, until_ms)", "until_ms"),
    "a granted ticket still counts": ("leave_queues(command.ticket, plan.books)", "pass"),
    "a ticket waits for what is exhausted": ('if ticket and refused.kind == "in_flight":', "if ticket:"),
    "whoever cannot be served keeps the place": ("leave_queues(ticket, plan.books)", "pass"),
    "a ticket is renewed where it is refused and nowhere else": (
        "if ticket in book.queue or (place",
        "if (ticket in book.queue and place == at) or (place",
    ),
    "a ticket is queued on every account": ("(place == at and len", "(len"),
    # forgiveness
    "what is presumed is forgiven": ("cell.spent - cell.presumed)", "cell.spent)"),
    "what is forgiven is not refunded": (
        '(cell, "refund", cell.refund + amount))\n        write',
        ")\n        write",
    ),
    "forgiveness need not say the same": (
        "known.state is HoldState.FORGIVEN and known.actual == command.amounts",
        "known.state is HoldState.FORGIVEN",
    ),
    "what was forgiven may be reserved": ("hold.state is HoldState.FORGIVEN or (", "("),
}
QUICK = {
    "a limit may not be reached",
    "a late commit is added to the presumption",
    "a release of an unknown id leaves no tombstone",
}


def _cases():
    for name in MUTANTS:
        marks = [] if name in QUICK else [pytest.mark.soak]
        yield pytest.param(name, marks=marks, id=name.replace(" ", "-"))


def test_the_reference_is_not_mistaken_for_a_mutant(link, monkeypatch):
    """Loaded in the same way and changed in nothing, it agrees."""
    same = _mutated_ledger("class Ledger(Records):", "class Ledger(Records):", monkeypatch)
    compare_ledgers(link, None, same, examples=5, hunt=True)


def _mutated_ledger(right: str, wrong: str, monkeypatch):
    """The state machine with one mistake, in the module that holds that line."""
    # each imports some before it
    names = ("plan", "holds", "admission", "identity", "queues", "records", "transition")
    specs = [importlib.util.find_spec(f"costscope.ledger.{name}") for name in names]
    sources = [Path(spec.origin).read_text(encoding="utf-8") for spec in specs]
    assert sum(source.count(right) for source in sources) == 1, (
        f"the mutant of {right!r} has to follow the source"
    )
    for spec, source in zip(specs, sources, strict=True):
        module = importlib.util.module_from_spec(spec)
        exec(compile(source.replace(right, wrong), f"a mutant of {spec.name}", "exec"), module.__dict__)
        monkeypatch.setitem(sys.modules, spec.name, module)
    return module.Ledger


@pytest.mark.soak
@pytest.mark.parametrize("name", list(PYTHON_MUTANTS), ids=lambda name: name.replace(" ", "-"))
def test_a_mistake_in_the_reference_is_found(link, name, monkeypatch):
    mutant = _mutated_ledger(*PYTHON_MUTANTS[name], monkeypatch)
    with pytest.raises(Disagreement):
        compare_ledgers(link, None, mutant, examples=1500, steps=50, hunt=True)


@pytest.mark.parametrize("name", list(_cases()))
def test_a_mistake_in_the_script_is_found(link, name):
    right, wrong = MUTANTS[name]
    source = source_of("ledger")
    assert source.count(right) == 1, f"the script has changed; the mutant {name!r} has to follow"
    with pytest.raises((Disagreement, StoreError, ValueError, KeyError)):
        compare_ledgers(link, source.replace(right, wrong), examples=1500, steps=50, hunt=True)


def test_every_mutant_still_fits_the_source(monkeypatch):
    source = source_of("ledger")
    assert [name for name, (right, _) in MUTANTS.items() if source.count(right) != 1] == []
    for mutant in PYTHON_MUTANTS.values():
        _mutated_ledger(*mutant, monkeypatch)
