"""What is used without importing a name: the command line, the URLs of stores, and what the distribution declares."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import tempfile
import tomllib
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import costscope
from costscope_valkey.embedded import stop_server

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

COMMANDS = ["audit", "check", "demo", "events", "exporter", "status"]
URLS = {
    "valkey://": "valkey://127.0.0.1:1/0",
    "valkeys://": "valkeys://127.0.0.1:1/0",
    "unix://": "unix:///nowhere/socket",
    "embedded://": "embedded://nowhere",
}
OPTIONS = [
    "ca_certs",
    "cert",
    "connect_timeout_ms",
    "db",
    "idle_s",
    "key",
    "ledger",
    "no_such_option",
    "operation_timeout_ms",
    "total_timeout_ms",
]
POLICY = """
budgets:
  - {id: tenant-day, per: [tenant], period: daily, limits: {cost: "9.00"}}
  - {id: unused, match: {tenant: other}, limits: {cost: "8.00"}}
"""


def distribution() -> dict[str, Any]:
    """Scripts, extras and entry points, by name: what they point to may move."""
    return {
        "name": PROJECT["name"],
        "scripts": dict.fromkeys(PROJECT["scripts"], "is there"),
        "extras": dict.fromkeys(PROJECT["optional-dependencies"], "is there"),
        "entry points": {
            group: dict.fromkeys(points, "is there") for group, points in PROJECT["entry-points"].items()
        },
    }


def stores() -> dict[str, Any]:
    """Which options each kind of URL knows."""
    found: dict[str, Any] = {"memory://": "opens"}
    costscope.Runtime(store="memory://").close()
    for scheme, url in URLS.items():
        found[scheme] = {name: _answer(url, name) for name in OPTIONS}
    return found


def _answer(url: str, option: str) -> str:
    """What is said about an option without a value: one that is known is named, one that is not is never repeated."""
    try:
        costscope.Runtime(store=f"{url}?{option}=").close()
    except costscope.StoreMisconfigured as error:
        return "known" if re.search(rf"\b{option}\b", str(error)) else "unknown"
    return "taken without a value"


def commands() -> dict[str, Any]:
    """Every command with its options and their defaults."""
    top = _run("--help")[1]
    found: dict[str, Any] = {"costscope": _options(top)}
    found["commands"] = dict.fromkeys(re.findall(r"^│ ([a-z]+) {2,}", top, re.MULTILINE), "is there")
    for name in COMMANDS:
        code, text = _run(name, "--help")
        found[f"costscope {name}"] = _options(text) if code == 0 else "is missing"
    return found


def _options(text: str) -> dict[str, str]:
    """The names of options and arguments, and their defaults. Placeholders and the rest are the formatter's."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if option := re.match(r"│ +((?:--[a-z-]+[ ,]*)+|\[[A-Z]+\])", line):
            name = " ".join(option[1].split())
            found[name] = "is there"
        default = re.search(r"\[default: *([^\]]*)\]", line)
        if default and name:
            found[name] = f"default {default[1].strip()}"
    return found


def _run(*arguments: str) -> tuple[int, str]:
    """Run the `costscope` command in this process: its exit code and what it printed."""
    module, _, function = PROJECT["scripts"]["costscope"].partition(":")
    plain = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "400", "TERMINAL_WIDTH": "400"}
    out = io.StringIO()
    code: Any = 0
    with (
        mock.patch.dict(os.environ, plain),
        mock.patch.object(sys, "argv", ["costscope", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        try:
            getattr(import_module(module), function)()
        except SystemExit as left:
            code = left.code or 0
    return code, out.getvalue()


def printed() -> dict[str, Any]:
    """The keys of what the commands print with `--json`, and their exit codes."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="cs-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        place = Path(folder)
        (place / "policy.yaml").write_text(POLICY, encoding="utf-8")
        (place / "wrong.yaml").write_text(
            "budgets: [{id: x, period: dayly, limits: {cost: 1}}]", encoding="utf-8"
        )
        policy, store = str(place / "policy.yaml"), f"embedded://{place / 'books'}"
        try:
            with costscope.Runtime(store=store, policy=policy) as runtime:
                with (
                    costscope.budget_scope(tenant="acme", run="r-1", runtime=runtime),
                    costscope.reserve(tool="search", price="0.50", runtime=runtime),
                ):
                    pass
                runtime.events.drain(30)  # all of it is to be there when it is read
            for words in (
                ("status", "--store", store, "--policy", policy, "--json"),
                ("events", "--store", store, "--json"),
                ("audit", "--store", store, "--json"),
                ("check", policy, "--scope", "tenant=acme", "--json"),
                ("check", str(place / "wrong.yaml")),
            ):
                code, text = _run(*words)
                shown = " ".join(word for word in words if word.startswith("--") or word in COMMANDS)
                shown += " (a wrong policy)" if "wrong.yaml" in words[1] else ""
                found[shown] = {"exit code": code, **_keys(text.strip())}
        finally:
            stop_server(place / "books")
    return found


def _keys(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("{"):
            _collect(json.loads(line), "$", found)
    return found


_FREE = re.compile(r"\$\.(prices|.*\.labels|.*\.forgiven)\.?")


def _collect(value: Any, path: str, found: dict[str, str]) -> None:
    if isinstance(value, dict):
        for key, one in value.items():
            inner = f"{path}.{key}"
            seen = {*found.get(inner, "").split(), type(one).__name__}
            found[inner] = " ".join(sorted(seen))
            if not _FREE.fullmatch(inner):
                _collect(one, inner, found)
    elif isinstance(value, list):
        for one in value:
            _collect(one, f"{path}[]", found)
