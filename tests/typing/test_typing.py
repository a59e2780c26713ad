"""mypy --strict and what decorators do to types: `api.py` says what must hold, and every ignore in it is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

API = Path(__file__).with_name("api.py")


@pytest.fixture
def mypy(tmp_path):
    pytest.importorskip("mypy")

    def run(file: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull]
        return subprocess.run(
            [*command, "--cache-dir", str(tmp_path / "cache"), "--follow-imports", "silent", str(file)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )

    return run


@pytest.mark.timeout(300)
def test_decorated_functions_keep_their_types(mypy):
    done = mypy(API)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_the_check_would_notice(mypy, tmp_path):
    """Each of these is wrong, and each must be an error."""
    wrong = tmp_path / "wrong.py"
    lines = [
        "called(3)",
        "assert_type(called('q'), list[int])",
        "first([1]).upper()",
        "Tools().method('1')",
        "ask('a').upper()",
        "scoped()",
    ]
    wrong.write_text(API.read_text() + "\n" + "\n".join(lines) + "\n")
    done = mypy(wrong)
    begin = len(API.read_text().splitlines()) + 2
    found = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    assert found == set(range(begin, begin + len(lines))), done.stdout
