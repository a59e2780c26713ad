"""Would we notice? Each mutant is one of the hosts with one deliberate mistake, and the comparison must find it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from ledger_twins import Disagreement, LedgerComparison, QueueComparison, SlotComparison, compare_ledgers
from ledger_twins.mutants import (
    QUEUE_REFERENCE,
    QUEUE_SCRIPT,
    REFERENCE,
    SCRIPT,
    SLOT_REFERENCE,
    STRAIGHT,
)

from costscope.errors import StoreError
from costscope_valkey.codec import source_of

QUICK = {
    "a limit may not be reached",
    "a late commit is added to the presumption",
    "a release of an unknown id leaves no tombstone",
    "the youngest ticket goes first",
}


def _cases(ledger, queue, slots=None, *, quick=frozenset()):
    """Each mutant with the machine that shall find it."""
    for machine, mutants in (
        (LedgerComparison, ledger),
        (QueueComparison, queue),
        (SlotComparison, slots or {}),
    ):
        for name, mutant in mutants.items():
            marks = [] if name in quick else [pytest.mark.soak]
            yield pytest.param(machine, mutant, marks=marks, id=name.replace(" ", "-"))


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


def test_the_reference_is_not_mistaken_for_a_mutant(link, monkeypatch):
    """Loaded in the same way and changed in nothing, it agrees."""
    same = _mutated_ledger("class Ledger(Records):", "class Ledger(Records):", monkeypatch)
    compare_ledgers(link, None, same, examples=5, hunt=True)


@pytest.mark.parametrize(("machine", "mutant"), list(_cases(REFERENCE, QUEUE_REFERENCE, SLOT_REFERENCE)))
def test_a_mistake_in_the_reference_is_found(link, machine, mutant, monkeypatch):
    mutated = _mutated_ledger(*mutant, monkeypatch)
    with pytest.raises(Disagreement):
        compare_ledgers(link, None, mutated, machine=machine, examples=1500, steps=50, hunt=True)


@pytest.mark.parametrize(("machine", "mutant"), list(_cases(SCRIPT | STRAIGHT, QUEUE_SCRIPT, quick=QUICK)))
def test_a_mistake_in_the_script_is_found(link, machine, mutant):
    right, wrong = mutant
    source = source_of("ledger")
    assert source.count(right) == 1, f"the script has changed; the mutant of {right!r} has to follow"
    mutated = source.replace(right, wrong)
    with pytest.raises((Disagreement, StoreError, ValueError, KeyError)):
        compare_ledgers(link, mutated, machine=machine, examples=1500, steps=50, hunt=True)


def test_every_mutant_still_fits_the_source(monkeypatch):
    source = source_of("ledger")
    scripts = SCRIPT | STRAIGHT | QUEUE_SCRIPT
    assert [name for name, (right, _) in scripts.items() if source.count(right) != 1] == []
    for mutant in (*REFERENCE.values(), *QUEUE_REFERENCE.values(), *SLOT_REFERENCE.values()):
        _mutated_ledger(*mutant, monkeypatch)
