"""The table of refusals: every kind has its error, and what is said of it stands once."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from costscope.errors import DENIALS, LEDGER_DENIALS, BudgetExceeded, CallDenied, DenialKind, LimitDenial

ROOT = Path(__file__).parent.parent


def test_every_kind_has_a_row_and_no_other():
    assert set(DENIALS) == set(get_args(DenialKind))
    assert {kind for kind, row in DENIALS.items() if row.error is BudgetExceeded} == set(
        get_args(LimitDenial)
    )


@pytest.mark.parametrize("kind", get_args(DenialKind))
def test_the_error_of_a_kind_is_a_refusal_and_says_its_kind(kind):
    error = DENIALS[kind].error
    assert issubclass(error, CallDenied)
    assert error is BudgetExceeded or error.kind == kind


def test_what_the_ledger_refuses_has_a_rank_of_its_own():
    assert {kind for kind, row in DENIALS.items() if row.rank} == set(LEDGER_DENIALS)
    assert len({DENIALS[kind].rank for kind in LEDGER_DENIALS}) == len(LEDGER_DENIALS)


@pytest.mark.parametrize("page", ["docs/errors.md", "docs/metrics.md"])
def test_every_kind_is_on_the_page(page):
    text = (ROOT / page).read_text()
    assert [kind for kind in DENIALS if f"`{kind}`" not in text] == []
