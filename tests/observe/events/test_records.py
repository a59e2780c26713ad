"""Records: one JSON object each, which says its type and comes back as what it was."""

from __future__ import annotations

import json
import typing

import msgspec
import pytest
from happenings import EVERY_KIND, happening

from costscope.events import KINDS, CallSettled, Event, decode_event, encode_event, kind_of


@pytest.mark.parametrize("record", EVERY_KIND)
def test_a_record_comes_back_from_json_as_it_was(record):
    event = happening(record)
    assert decode_event(encode_event(event)) == event
    assert json.loads(encode_event(event))["type"] == kind_of(event)


def test_the_kinds_are_the_tags_of_the_records():
    assert typing.get_args(Event) == EVERY_KIND
    assert tuple(record.__struct_config__.tag for record in EVERY_KIND) == KINDS
    assert tuple(kind_of(happening(record)) for record in EVERY_KIND) == KINDS


def test_what_is_no_record_is_refused():
    for wrong in ('{"type": "unheard"}', "[]", '{"type": "run_started"}'):
        with pytest.raises(msgspec.ValidationError):
            decode_event(wrong)


def test_a_reader_of_an_older_version_passes_over_fields_it_does_not_know():
    said = json.loads(encode_event(happening(CallSettled))) | {"new": 1}
    assert decode_event(json.dumps(said)).name == "gpt-4o"
