"""Collect what users may rely on, as sorted JSON: names, signatures, members, options, words and fields.

    python tests/golden/collect.py            print it
    python tests/golden/collect.py --write    put it into golden.json, after the differences were reviewed

Everything is found through documented names, or by doing what the documentation says, so that no module behind them
is named here and any of those may move. `test_golden.py` compares with golden.json.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import describe
import living
import names
import outside
import words

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).with_name("golden.json")
FAILED = "could not be collected:"


def surface() -> dict[str, Any]:
    """All of it, by section. What cannot be collected says why in its place, so that the rest is compared all the same."""
    logging.getLogger("costscope").setLevel(logging.CRITICAL)
    with words.environment({}):
        story = _tried(living.Story)
        from_story = story if isinstance(story, living.Story) else _Untold(story)
        sections: dict[str, Callable[[], Any]] = {
            "names": names.names,
            "declared members": names.declared,
            "members": from_story.members,
            "options of decorators": living.options,
            "errors": names.errors,
            "records": living.records,
            "kinds of events": from_story.kinds,
            "callbacks": from_story.callbacks,
            "metrics": from_story.metrics,
            "spans": from_story.spans,
            "policy fields": words.fields,
            "policy files": words.files,
            "variables": words.variables,
            "webhooks": living.signed,
            "store URLs": outside.stores,
            "commands": outside.commands,
            "printed": outside.printed,
            "distribution": outside.distribution,
        }
        return {name: _tried(section) for name, section in sections.items()}


def _tried(section: Callable[[], Any]) -> Any:
    try:
        return section()
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{FAILED} {type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"


class _Untold:
    """A story that came to a bad end: each of its sections says so."""

    def __init__(self, end: str) -> None:
        self.members = self.kinds = self.callbacks = self.metrics = self.spans = lambda: end


def as_text(found: dict[str, Any]) -> str:
    """The JSON of the file."""
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    text = as_text(surface())
    if sys.argv[1:] == ["--write"]:
        if FAILED in text or describe.MISSING in text:
            sys.exit("not written: something in tests/golden/*.py could not be found; see what the test says")
        GOLDEN.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
