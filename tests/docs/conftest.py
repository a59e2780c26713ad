"""Runs the code of a Markdown page: Python, policy files, commands, and what they print.

A page is one test, from its first block to its last, in a folder and with a default runtime of its own. Blocks
by their language:

* `python`: executed; it sees the names of the blocks before it, and `client`, the real OpenAI SDK talking to a
  provider on loopback. With a first line `# NAME.py` it is saved under that name and not executed. The
  `budgets.yaml` of the examples is in the folder.
* `output`: what the block before printed; `...` stands for what differs from run to run.
* `yaml`, `toml`: a policy that must load. With a first line `# NAME.yaml` it is saved under that name, and if
  NAME begins with `broken` it must be refused.
* `console`: commands behind `$` and their output, run by bash.
* `sh`, `text`, `lua`: shown, not run.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import openai
import pytest
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from costscope import InvalidPolicy, Runtime, get_runtime
from costscope.policy.load.loader import load_policy, parse_policy
from costscope.scope.default_runtime import default_in_block

SHOWN = ("sh", "text", "lua")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
NAMED = re.compile(r"# (\S+\.(?:yaml|toml|py))\n")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).parents[2]


@pytest.fixture
def run_page(root, provider, tmp_path, monkeypatch):
    """Executes every block of a page."""
    for name in [name for name in os.environ if name.startswith(("COSTSCOPE_", "PYTEST_"))]:
        monkeypatch.delenv(name)  # a page that runs pytest must not write where the run around it does
    monkeypatch.chdir(tmp_path)
    shutil.copy(root / "examples" / "budgets.yaml", tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("COLUMNS", "100")

    def run(page: Path) -> None:
        document = READER.parse(page)
        with openai.OpenAI(**provider.openai) as client, default_in_block(Runtime()):
            document.namespace.update(__name__="page", client=client)
            try:
                for example in document.examples():
                    example.evaluate()
            finally:
                get_runtime().close()

    return run


def _python(example: Example) -> None:
    named = NAMED.match(example.parsed)
    if named:
        Path(named[1]).write_text(str(example.parsed), encoding="utf-8")
        return
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        PythonEvaluator()(example)
    example.namespace["printed"] = printed.getvalue()


def _output(example: Example) -> str | None:
    return _differs(example.parsed, example.namespace.get("printed", ""))


def _policy(example: Example) -> str | None:
    text, named = str(example.parsed), NAMED.match(example.parsed)
    if not named:
        parse_policy(text)
        return None
    file = Path(named[1])
    file.write_text(text, encoding="utf-8")
    if file.name == "pyproject.toml":
        tomllib.loads(text)
        return None
    try:
        load_policy(file)
    except InvalidPolicy as refusal:
        return None if file.name.startswith("broken") else str(refusal)
    return f"{file} should have been refused" if file.name.startswith("broken") else None


def _console(example: Example) -> str | None:
    for part in re.split(r"^\$ ", example.parsed, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        done = subprocess.run(
            ["bash", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=90,
            check=False,
        )
        problem = _differs(expected, done.stdout)
        if problem or done.returncode:  # a page that shows a failure ends the command with `; echo $?`
            return f"$ {command} (exit code {done.returncode})\n{problem}"
    return None


def _differs(expected: str, found: str) -> str | None:
    """Why this is not what the page says; white space at the ends of lines says nothing."""
    expected, found = (
        "".join(f"{line.rstrip()}\n" for line in text.strip().splitlines()) for text in (expected, found)
    )
    if doctest.OutputChecker().check_output(expected, found, FLAGS):
        return None
    return f"the page says:\n{expected}\nit printed:\n{found}"


class _PythonParser(PythonCodeBlockParser):
    """Keeps what a block prints for the `output` block behind it."""

    def __init__(self) -> None:
        super().__init__(doctest_optionflags=FLAGS)
        self.codeblock_parser = CodeBlockParser("python", _python)


READER = Sybil(
    parsers=[
        _PythonParser(),
        CodeBlockParser("output", _output),
        CodeBlockParser("yaml", _policy),
        CodeBlockParser("toml", _policy),
        CodeBlockParser("console", _console),
    ]
)
