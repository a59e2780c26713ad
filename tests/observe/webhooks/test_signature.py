"""Signatures: what a receiver can rely on."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costscope.errors import CostscopeError, InvalidInput
from costscope.webhooks import TOLERANCE_S, WrongSignature, check_secret, new_secret, sign, verify

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
OTHER = new_secret()
NOW = 1_780_000_000
BODY = b'{"type":"threshold"}'


def request(secret=SECRET, webhook_id="msg_1", at=NOW, body=BODY):
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(at),
        "webhook-signature": sign(secret, webhook_id, at, body),
    }


def test_it_is_the_hmac_sha256_of_id_time_and_body_in_base64():
    """As Standard Webhooks has it, so that any library for that verifies it."""
    digest = hmac.new(KEY, b"msg_1.1780000000." + BODY, hashlib.sha256).digest()
    assert sign(SECRET, "msg_1", NOW, BODY) == "v1," + base64.b64encode(digest).decode()


def test_the_example_of_the_specification_is_verified():
    """Published with the specification's own libraries: secret, id, time, body and signature of one request."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert verify(secret, headers, b'{"test": 2432232314}', now_s=1614265330) == headers["webhook-id"]


@given(
    body=st.binary(),
    webhook_id=st.text(alphabet=st.characters(exclude_characters=".", exclude_categories=["Cs"]), min_size=1),
)
def test_what_was_signed_is_verified_and_its_id_returned(body, webhook_id):
    assert verify(SECRET, request(webhook_id=webhook_id, body=body), body, now_s=NOW) == webhook_id


@given(data=st.data(), body=st.binary(min_size=1))
def test_a_body_with_one_byte_changed_is_not(data, body):
    at, add = data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(1, 255))
    changed = body[:at] + bytes([(body[at] + add) % 256]) + body[at + 1 :]
    with pytest.raises(WrongSignature, match="no signature fits"):
        verify(SECRET, request(body=body), changed, now_s=NOW)


@pytest.mark.parametrize(
    "headers",
    [
        request() | {"webhook-id": "msg_2"},
        request() | {"webhook-timestamp": str(NOW + 1)},
        request(OTHER),
        request() | {"webhook-signature": "v1,"},
        request() | {"webhook-signature": request()["webhook-signature"].replace("v1,", "v2,")},
        request() | {"webhook-signature": request()["webhook-signature"].removeprefix("v1,")},
        request() | {"webhook-signature": "v1,é"},
        request() | {"webhook-signature": request()["webhook-signature"][:-2]},
    ],
)
def test_another_id_time_secret_or_signature_is_not(headers):
    with pytest.raises(WrongSignature, match="no signature fits"):
        verify(SECRET, headers, BODY, now_s=NOW)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_header_that_is_missing_is_named(name, value):
    headers = request()
    if value is None:
        del headers[name]
    else:
        headers[name] = value
    with pytest.raises(WrongSignature, match=f"no header {name}"):
        verify(SECRET, headers, BODY, now_s=NOW)


@pytest.mark.parametrize(
    ("late_s", "accepted"), [(0, 1), (299, 1), (-299, 1), (301, 0), (-301, 0), (10**9, 0)]
)
def test_a_request_from_another_time_is_a_replay(late_s, accepted):
    assert TOLERANCE_S == 300
    if accepted:
        verify(SECRET, request(), BODY, now_s=NOW + late_s)
    else:
        with pytest.raises(WrongSignature, match="s old by this clock"):
            verify(SECRET, request(), BODY, now_s=NOW + late_s)


def test_the_tolerance_can_be_chosen_and_the_clock_is_the_default():
    with pytest.raises(WrongSignature):
        verify(SECRET, request(), BODY, now_s=NOW + 11, tolerance_s=10)
    verify(SECRET, request(at=int(time.time())), BODY)
    with pytest.raises(WrongSignature):
        verify(SECRET, request(), BODY, now_s=float("nan"))


@pytest.mark.parametrize("stamp", ["-1", "1.5", "1e9", "٣", "0x10", " 1780000000", "9" * 5000])
def test_a_time_that_is_none_is_refused(stamp):
    with pytest.raises(WrongSignature, match="no whole number"):
        verify(SECRET, request() | {"webhook-timestamp": stamp}, BODY, now_s=NOW)


def test_capitals_in_the_names_of_headers_make_no_difference():
    headers = {name.title(): value for name, value in request().items()}
    assert verify(SECRET, headers, BODY, now_s=NOW) == "msg_1"


def test_a_secret_is_changed_without_a_gap():
    """Both sides may have the old and the new one for a while, in whichever order they change."""
    both = f"{SECRET} {OTHER}"
    assert sign(both, "msg_1", NOW, BODY).count("v1,") == 2
    for signer, verifier in ((both, SECRET), (both, OTHER), (SECRET, both), (OTHER, both)):
        verify(verifier, request(signer), BODY, now_s=NOW)
    with pytest.raises(WrongSignature):
        verify(SECRET, request(OTHER), BODY, now_s=NOW)


def test_every_pair_of_signature_and_secret_is_compared_in_constant_time(monkeypatch):
    """Whichever fits: nothing of that can be told from the time it takes."""
    compared = []
    real = hmac.compare_digest

    def counting(one, other):
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr("costscope.observe.webhooks.signature.hmac.compare_digest", counting)
    headers = request(f"{SECRET} {OTHER}")
    verify(f"{SECRET} {OTHER} {new_secret()}", headers, BODY, now_s=NOW)
    assert len(compared) == 2 * 3


def test_a_new_secret_is_256_random_bits():
    secrets = {new_secret() for _ in range(50)}
    assert len(secrets) == 50
    for secret in secrets:
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
        check_secret(secret)


def test_any_long_text_is_a_secret_too():
    plain = "correct horse battery staple".replace(" ", "-")
    verify(plain, request(plain), BODY, now_s=NOW)


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("hunter2", "too short"),
        ("whsec_aHVudGVyMg==", "too short"),
        ("whsec_not base64!", "base64"),
        ("whsec_====", "base64"),
        (f"{SECRET} xyzzy", "too short"),
    ],
)
def test_what_cannot_be_a_secret_is_refused_and_not_shown(secret, problem):
    for refusing in (
        check_secret,
        lambda text: sign(text, "i", NOW, BODY),
        lambda text: verify(text, request(), BODY),
    ):
        with pytest.raises(InvalidInput, match=problem) as error:
            refusing(secret)
        for word in secret.split():
            assert word not in str(error.value)


def test_an_id_with_a_full_stop_could_be_read_in_two_ways_and_is_not_signed():
    with pytest.raises(InvalidInput, match="full stop"):
        sign(SECRET, "a.b", NOW, BODY)


def test_a_wrong_signature_is_an_error_of_costscope():
    assert issubclass(WrongSignature, CostscopeError)
