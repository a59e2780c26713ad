"""The three example files of strands-costguard, as its document prints them, in one folder."""

import shutil
from pathlib import Path

import pytest
from running import books, colour, make_runtime, make_store, patient_url, runtime, store_kind

__all__ = ["books", "colour", "make_runtime", "make_store", "patient_url", "runtime", "store_kind"]

HERE = Path(__file__).parent


@pytest.fixture
def policy(tmp_path):
    """A folder with nothing else in it."""
    for name in ("budgets.yaml", "routing.yaml", "pricing.yaml"):
        shutil.copy(HERE / name, tmp_path)
    return str(tmp_path)
