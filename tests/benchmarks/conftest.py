import importlib
import sys
from pathlib import Path

import pytest


@pytest.fixture
def harness(monkeypatch):
    """`benchmarks.harness`; the package is run from the checkout and never installed."""
    monkeypatch.setattr("sys.path", [*sys.path, str(_ROOT)])  # last: what is installed goes first
    return importlib.import_module("benchmarks.harness")


@pytest.fixture
def checkout() -> Path:
    """The folder that holds `benchmarks/`."""
    return _ROOT


_ROOT = Path(__file__).resolve().parents[2]
