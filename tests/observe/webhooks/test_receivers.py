"""The webhooks of a policy: checked when they are taken over, with secrets that stand in the environment only."""

from __future__ import annotations

import logging

import pytest
from webhook_workers import SECRET

from costscope import InvalidPolicy, Runtime
from costscope.board import Delivery
from costscope.observe.webhooks.post import _read_retry_after, header_id
from costscope.observe.webhooks.receivers import pause_s, receivers
from costscope.policy.model.controls import Webhook

ENVIRON = {"HOOK_SECRET": SECRET}


def made(url="https://hooks.example/costs", environ=ENVIRON, **given):
    [receiver] = receivers(
        {"ops": Webhook(**({"url": url, "secret_env": "HOOK_SECRET"} | given))}, environ
    ).values()
    return receiver


def test_a_receiver_shows_its_host_and_nothing_of_what_may_be_secret():
    receiver = made("https://hooks.example:8443/T0KEN?key=K3Y")
    assert receiver.place == "https://hooks.example:8443"
    assert repr(receiver) == "<Receiver ops at https://hooks.example:8443>"
    assert receiver.url == "https://hooks.example:8443/T0KEN?key=K3Y"
    assert receiver.timeout_s == 5


@pytest.mark.parametrize(
    "environ", [{}, {"HOOK_SECRET": ""}, {"HOOK_SECRET": "hunter2"}, {"hook_secret": SECRET}]
)
def test_without_a_usable_secret_in_the_environment_a_policy_is_refused(environ):
    with pytest.raises(InvalidPolicy, match="the environment variable HOOK_SECRET") as error:
        made(environ=environ)
    assert "$.webhooks.ops.secret_env" in str(error.value)
    assert "hunter2" not in str(error.value)
    assert error.value.__context__ is None or "hunter2" not in str(error.value.__context__)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/x",
        "file:///etc/passwd",
        "hooks.example/x",
        "https:///x",
        "http://h:0/x",
        "http://h:port/x",
        "http://[/x",
        "",
    ],
)
def test_what_is_no_address_to_post_to_is_refused_and_not_shown(url):
    with pytest.raises(InvalidPolicy, match="no URL for a webhook") as error:
        made(url)
    assert not url or url not in str(error.value)


@pytest.mark.parametrize("timeout", [0, -1, 61, "2m", "soon"])
def test_a_time_out_is_more_than_nothing_and_at_most_a_minute(timeout):
    with pytest.raises(InvalidPolicy, match=r"\$\.webhooks\.ops\.timeout"):
        made(timeout=timeout)
    assert made(timeout="1m").timeout_s == 60
    assert made(timeout=0.25).timeout_s == 0.25


def test_records_that_would_go_unencrypted_through_the_net_are_warned_of(caplog):
    for local in ("http://localhost:8080/x", "http://127.0.0.1/x", "http://[::1]:9/x", "https://h.example/x"):
        made(local)
    assert caplog.records == []
    made("http://hooks.example/T0KEN")
    assert "unencrypted" in caplog.text
    assert "T0KEN" not in caplog.text


def test_it_is_left_alone_after_a_failure_until_it_answers():
    receiver = made()
    assert not receiver.is_left_alone(0.0)
    receiver.record_failure(100.0, lambda: 1.0, None)
    assert receiver.is_left_alone(101.9)
    assert not receiver.is_left_alone(102.0)
    receiver.record_failure(102.0, lambda: 1.0, None)
    assert receiver.is_left_alone(105.9), "twice as long the second time"
    receiver.record_answer()
    assert not receiver.is_left_alone(103.0)
    receiver.record_failure(200.0, lambda: 1.0, None)
    assert not receiver.is_left_alone(202.0), "and begins anew"
    assert pause_s(1, lambda: 1.0) == 2.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("9" * 5000, 999_999_999.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    assert _read_retry_after(header) == seconds


def test_the_id_of_a_delivery_is_a_header_that_can_be_signed():
    assert header_id("0123abcd:ops") == "0123abcd:ops"
    assert header_id("0123:ops.eu-1_x") == "0123:ops%2Eeu-1_x"
    assert header_id("a b\r\nx: ü") == "a%20b%0D%0Ax:%20%C3%BC"
    assert Delivery("i:ops", "ops", "{}", 1).id == "i:ops"


POLICY = {
    "budgets": [
        {"id": "b", "limits": {"cost": "1"}, "thresholds": [{"at": 50, "actions": [{"webhook": "ops"}]}]}
    ],
    "webhooks": {"ops": {"url": "https://hooks.example/x", "secret_env": "HOOK_SECRET"}},
}


def test_a_runtime_refuses_a_policy_whose_webhooks_it_could_not_serve(monkeypatch):
    monkeypatch.delenv("HOOK_SECRET", raising=False)
    with pytest.raises(InvalidPolicy, match="HOOK_SECRET"):
        Runtime(policy=POLICY)
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    Runtime(policy=POLICY).close()
    monkeypatch.setattr("costscope.observe.webhooks.post.find_spec", lambda name: None)
    with pytest.raises(InvalidPolicy, match=r"pip install 'costscope\[webhooks\]'"):
        Runtime(policy=POLICY)


def test_a_policy_without_webhooks_needs_neither(monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr("costscope.observe.webhooks.post.find_spec", lambda name: None)
    Runtime(policy={"budgets": [{"id": "b", "limits": {"cost": "1"}}]}).close()
    assert caplog.records == []
