"""Would we notice? Each mutant is one of the hosts with one deliberate mistake, and the comparison must find it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from ledger_twins import (
    CornerComparison,
    Disagreement,
    LedgerComparison,
    QueueComparison,
    QueueCornerComparison,
    compare_ledgers,
)
from ledger_twins.mutants import (
    CORNER_REFERENCE,
    CORNER_SCRIPT,
    QUEUE_CORNER_SCRIPT,
    QUEUE_REFERENCE,
    QUEUE_SCRIPT,
    REFERENCE,
    SCRIPT,
    STRAIGHT,
)

from costscope.errors import StoreError
from costscope.ledger import state
from costscope_valkey.codec import source_of

QUICK = {
    "a limit may not be reached",
    "a late commit is added to the presumption",
    "a release of an unknown id leaves no tombstone",
    "the youngest ticket goes first",
}


SHOWN = {"Counters", "Snapshot", "SnapshotAccount", "SnapshotHold"}
"""What a ledger shows of itself: the comparison knows these classes, so a mutant shows the same."""

IN_REFERENCE = {
    LedgerComparison: REFERENCE,
    QueueComparison: QUEUE_REFERENCE,
    CornerComparison: CORNER_REFERENCE,
}
IN_SCRIPT = {
    LedgerComparison: SCRIPT | STRAIGHT,
    QueueComparison: QUEUE_SCRIPT,
    CornerComparison: CORNER_SCRIPT,
    QueueCornerComparison: QUEUE_CORNER_SCRIPT,
}
"""For each machine the mutants that it shall find."""


def _cases(mutants_of):
    return [
        pytest.param(
            machine,
            mutant,
            marks=[] if name in QUICK and mutants_of is IN_SCRIPT else [pytest.mark.soak],
            id=name.replace(" ", "-"),
        )
        for machine, mutants in mutants_of.items()
        for name, mutant in mutants.items()
    ]


def _mutated_ledger(right: str, wrong: str, monkeypatch):
    """The state machine with one mistake, in the module that holds that line."""
    # each imports some before it
    names = ("state", "admission", "ids", "books", "transition")
    specs = [importlib.util.find_spec(f"costscope.ledger.{name}") for name in names]
    sources = [Path(spec.origin).read_text(encoding="utf-8") for spec in specs]
    assert sum(source.count(right) for source in sources) == 1, (
        f"the mutant of {right!r} has to follow the source"
    )
    for spec, source in zip(specs, sources, strict=True):
        module = importlib.util.module_from_spec(spec)
        exec(compile(source.replace(right, wrong), f"a mutant of {spec.name}", "exec"), module.__dict__)
        for shown in SHOWN & vars(module).keys():
            setattr(module, shown, getattr(state, shown))
        monkeypatch.setitem(sys.modules, spec.name, module)
    return module.Ledger


def test_the_reference_is_not_mistaken_for_a_mutant(link, monkeypatch):
    """Loaded in the same way and changed in nothing, it agrees."""
    same = _mutated_ledger("class Ledger(Books):", "class Ledger(Books):", monkeypatch)
    compare_ledgers(link, None, same, examples=5, hunt=True)


@pytest.mark.parametrize(("machine", "mutant"), _cases(IN_REFERENCE))
def test_a_mistake_in_the_reference_is_found(link, machine, mutant, monkeypatch):
    mutated = _mutated_ledger(*mutant, monkeypatch)
    with pytest.raises(Disagreement):
        compare_ledgers(link, None, mutated, machine=machine, examples=6000, steps=50, hunt=True)


@pytest.mark.parametrize(("machine", "mutant"), _cases(IN_SCRIPT))
def test_a_mistake_in_the_script_is_found(link, machine, mutant):
    right, wrong = mutant
    source = source_of("ledger")
    assert source.count(right) == 1, f"the script has changed; the mutant of {right!r} has to follow"
    mutated = source.replace(right, wrong)
    with pytest.raises((Disagreement, StoreError, ValueError, KeyError)):
        compare_ledgers(link, mutated, machine=machine, examples=6000, steps=50, hunt=True)


def test_every_mutant_still_fits_the_source(monkeypatch):
    source = source_of("ledger")
    in_script = [mutant for mutants in IN_SCRIPT.values() for mutant in mutants.items()]
    assert [name for name, (right, _) in in_script if source.count(right) != 1] == []
    for mutant in (each for mutants in IN_REFERENCE.values() for each in mutants.values()):
        _mutated_ledger(*mutant, monkeypatch)
