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
from pathlib import Path
from typing import Any

import living
import names
import outside
import words

GOLDEN = Path(__file__).with_name("golden.json")


def surface() -> dict[str, Any]:
    """All of it, by section."""
    logging.getLogger("costscope").setLevel(logging.CRITICAL)
    with words.environment({}):
        story = living.Story()
        return {
            "names": names.names(),
            "members": names.declared() | story.members(),
            "options of decorators": story.options,
            "errors": names.errors(),
            "events": {
                "records": living.records(),
                "kinds": {kind: " ".join(sorted(seen)) for kind, seen in story.kinds.items()},
                "callbacks": {name: " ".join(sorted(seen)) for name, seen in story.callbacks.items()},
            },
            "metrics": story.metrics(),
            "spans": story.spans(),
            "policy": {"fields": words.fields(), "files": words.files(), "variables": words.variables()},
            "webhooks": living.signed(),
            "store URLs": outside.stores(),
            "commands": outside.commands(),
            "printed": outside.printed(),
            "distribution": outside.distribution(),
        }


def as_text(found: dict[str, Any]) -> str:
    """The JSON of the file."""
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    text = as_text(surface())
    if sys.argv[1:] == ["--write"]:
        GOLDEN.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
