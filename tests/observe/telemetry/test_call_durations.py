"""Durations in bounded memory: the histogram is the same as if each had been kept."""

from bisect import bisect_left
from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costscope.observe.telemetry.call_durations import KEPT_MAX, Durations
from costscope.observe.telemetry.metrics import CALL_SECONDS

seconds = st.one_of(st.sampled_from(CALL_SECONDS), st.floats(1e-6, 5000.0))


def durations(values):
    found = Durations()
    for value in values:
        found.values.append(value)
        found.fold()
    return found


def buckets(parts):
    counts = [0] * (len(CALL_SECONDS) + 1)
    for value, times in parts:
        counts[bisect_left(CALL_SECONDS, value)] += times
    return counts


def test_few_are_kept_as_they_are():
    values = [0.001 * number for number in range(1, KEPT_MAX + 1)]
    assert durations(values).parts() == [(value, 1) for value in values]


@given(values=st.lists(seconds, max_size=40), repeated=st.integers(1, 20))
def test_many_fall_into_the_buckets_each_of_them_would_have(values, repeated):
    values = values * repeated
    found = durations(values)
    assert len(found) == len(values)
    assert buckets(found.parts()) == buckets([(value, 1) for value in values])
    assert fsum(value * times for value, times in found.parts()) == pytest.approx(fsum(values))
    assert len(found.values) <= KEPT_MAX


@given(one=st.lists(seconds, max_size=300), other=st.lists(seconds, max_size=300))
def test_merging_counts_both(one, other):
    found = durations(one)
    found.merge(durations(other))
    assert buckets(found.parts()) == buckets([(value, 1) for value in one + other])


def test_the_mean_of_a_bucket_is_not_rounded_out_of_it():
    found = durations([0.1] * (KEPT_MAX + 1))
    assert found.parts() == [(0.1, KEPT_MAX + 1)]
