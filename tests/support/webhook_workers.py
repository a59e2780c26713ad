"""What other processes do with webhooks: here, where a spawned interpreter finds it wherever the suite was started."""

from __future__ import annotations

import os
import time

from costscope.policy.model.controls import Webhook
from costscope.stores import open_store
from costscope.webhooks import WebhookSender

__all__ = ["HASTY_S", "RETRY_S", "SECRET", "send_until_killed", "sender_for"]

SECRET = "whsec_" + "A" * 43 + "="
HASTY_S = 0.5
"""A time-out for receivers that do not answer."""
RETRY_S = 1.5
"""A time-out after which another attempt is made soon; one that is answered has so much time on a busy machine."""


def sender_for(store, *, margin_s: float = 5.0, timeout: float = 20.0, **urls: str) -> WebhookSender:
    """A sender; it tries again after about twice its time-out and margin."""
    webhooks = {
        name: Webhook(url=url, secret_env="HOOK_SECRET", timeout=timeout) for name, url in urls.items()
    }
    return WebhookSender(
        store, webhooks, environ={"HOOK_SECRET": SECRET}, look_s=0.05, margin_s=margin_s, first_pause_s=0.02
    )


def send_until_killed(url: str, hook: str) -> None:
    """Take what is due and send it; this process is killed before the answer comes."""
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    webhooks = {"ops": Webhook(url=hook, secret_env="HOOK_SECRET", timeout=1.5)}
    sender = WebhookSender(open_store(url), webhooks, environ={"HOOK_SECRET": SECRET}, margin_s=0.1)
    while True:
        sender.look()
        time.sleep(0.05)
