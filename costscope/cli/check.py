"""The command: what it takes, and the three things it can find: errors, warnings, nothing."""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from costscope.errors import InvalidInput, InvalidPolicy
from costscope.observe.reports.as_json import format_count, json_text
from costscope.policy import check_labels
from costscope.policy.explain.scope_text import explain, explain_scope

if TYPE_CHECKING:
    from costscope.policy.lint.policy_lint import Lint
    from costscope.policy.load.document import Place
    from costscope.policy.load.loader import LoadedPolicy


_NEXT_LABEL: Final = re.compile(r",(?=[A-Za-z_][A-Za-z0-9_]*=)", re.ASCII)
"""A comma ends a value only where another label follows: `name=Smith, Ann` is one label."""


def check(
    policy: Annotated[
        str | None,
        typer.Argument(
            metavar="[POLICY]",
            help="A policy file (.yaml or .toml), a folder of them, or env: for the environment variables. "
            "By default what the environment says.",
            show_default=False,
        ),
    ] = None,
    *,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            metavar="LABEL=VALUE[,...]",
            help="Say only what holds in a scope with these labels. May be repeated.",
            show_default=False,
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if there is any warning.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Load a policy, say what it does, and warn of what it hardly means.

    Exit code: 0, also with warnings; 1 with --strict and a warning; 2 where it cannot be a policy.
    """
    from costscope.policy.lint.policy_lint import lint_policy  # noqa: PLC0415 - may load the table of prices
    from costscope.policy.load.loader import read_policy  # noqa: PLC0415 - with the files' parsers

    labels = _labels(scope) if scope else None
    source = _source(policy)
    try:
        loaded = read_policy(source)
    except InvalidPolicy as error:
        # as compilers write it, FILE:LINE: ..., so that an editor can jump there
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(2) from error
    lint = lint_policy(loaded.policy)
    warnings = _place_warnings(loaded, lint)
    if json:
        _print_json(source, loaded, labels, warnings, lint.notes)
    else:
        _print(source, loaded, labels)
        _print_warnings(warnings, lint.notes)
    if strict and warnings:
        raise typer.Exit(1)


def _labels(scope: list[str]) -> dict[str, str]:
    """Read the labels of `tenant=acme,user=u1`.

    Raises:
        InvalidInput: a part that is no `label=value`, or a label that is given twice.
        InvalidLabel: a name or value that no scope can have.
    """
    found: dict[str, str] = {}
    for part in (part for text in scope for part in _NEXT_LABEL.split(text)):
        name, equals, value = part.partition("=")
        if not equals:
            msg = f"--scope {part!r}: write LABEL=VALUE, such as tenant=acme"
            raise InvalidInput(msg)
        if name in found:
            msg = f"--scope names {name} twice; a scope has one value of a label"
            raise InvalidInput(msg)
        found[name] = value
    return check_labels(found)


def _source(given: str | None) -> str:
    from costscope.policy.load.environment import environment_source  # noqa: PLC0415 - with the files' parsers

    source = environment_source() if given is None else given
    if source is None:
        msg = "no policy is named: give a file or folder, or set COSTSCOPE_POLICY"
        raise InvalidInput(msg)
    return source


def _place_warnings(loaded: LoadedPolicy, lint: Lint) -> list[tuple[Place, str]]:
    """List the warnings where they were written, from the top of each file to its end.

    What was written once and means several things, as in other formats, is said once.
    """
    found = dict.fromkeys((loaded.document.place(steps), problem) for steps, problem in lint.warnings)
    return sorted(found, key=lambda warning: (warning[0].file or "", warning[0].line or 0))


def _print_json(
    source: str,
    loaded: LoadedPolicy,
    labels: dict[str, str] | None,
    warnings: list[tuple[Place, str]],
    notes: tuple[str, ...],
) -> None:
    rules, now_ms = loaded.policy, time.time_ns() // 1_000_000
    found: dict[str, object] = {"file": source, "explained": explain(rules, now_ms), "prices": rules.prices}
    if labels is not None:
        found["scope"] = explain_scope(rules, labels, now_ms)
    found["warnings"] = [{**place._asdict(), "problem": problem} for place, problem in warnings]
    found["notes"] = notes
    typer.echo(json_text(found))


def _print(source: str, loaded: LoadedPolicy, labels: dict[str, str] | None) -> None:
    from rich.console import Console  # noqa: PLC0415 - 0.1 s that --json does without

    from costscope.cli.check_report import policy_screen, policy_title, scope_screen  # noqa: PLC0415 - as above

    console = Console(highlight=False)
    rules, now_ms = loaded.policy, time.time_ns() // 1_000_000
    if labels is not None:
        console.print(scope_screen(explain_scope(rules, labels, now_ms), rules))
        return
    words = explain(rules, now_ms)
    title = policy_title("the environment" if source == "env:" else source, words)
    console.print(title, soft_wrap=True)  # a path in one piece can be copied
    console.print(policy_screen(rules, words))


def _print_warnings(warnings: list[tuple[Place, str]], notes: tuple[str, ...]) -> None:
    sys.stdout.flush()  # where both go to one file, the explanation comes first
    for place, problem in warnings:
        sys.stderr.write(f"{place}: warning: {problem}\n")
    for note in notes:
        sys.stderr.write(f"note: {note}\n")
    if warnings:
        sys.stderr.write(f"{format_count(len(warnings), 'warning')}\n")
