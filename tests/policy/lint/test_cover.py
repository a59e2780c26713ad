"""Which rules cover which: a yes is always right."""

from hypothesis import given, settings
from hypothesis import strategies as st

from costscope.policy.lint.limit_lint import covers_patterns, fixed_labels
from costscope.policy.model.patterns import matches

patterns = st.text("ab*", min_size=1, max_size=4)
values = st.text("abc", min_size=1, max_size=5)


@settings(deadline=None, max_examples=500)
@given(
    st.lists(patterns, min_size=1, max_size=3),
    st.lists(patterns, min_size=1, max_size=3),
    st.lists(values, max_size=20),
)
def test_every_value_of_the_narrow_ones_fits_the_broad_ones(broad, narrow, candidates):
    if covers_patterns(broad, narrow):
        for value in candidates:
            if any(matches(one, value) for one in narrow):
                assert any(matches(one, value) for one in broad)


def test_the_usual_cases_are_decided():
    assert covers_patterns(["*"], ["a", "b*"])
    assert covers_patterns(["trial-*"], ["trial-eu-*", "trial-1"])
    assert covers_patterns(["a", "b"], ["b"])
    assert not covers_patterns(["a"], ["a", "b"])
    assert not covers_patterns(["trial-eu-*"], ["trial-*"])


def test_labels_that_have_one_value_or_none():
    rules = (("tenant", ("a",)), ("user", ("a*",)), ("team", ("a", "b")), ("run", None))
    assert fixed_labels(rules) == {"tenant", "run"}
