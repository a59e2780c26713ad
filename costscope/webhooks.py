"""Records that are sent to other programs, signed; and what these need to verify them."""

from costscope.observe.webhooks.sender import WebhookSender
from costscope.observe.webhooks.signature import (
    TOLERANCE_S,
    WrongSignature,
    check_secret,
    new_secret,
    sign,
    verify,
)

__all__ = ["TOLERANCE_S", "WebhookSender", "WrongSignature", "check_secret", "new_secret", "sign", "verify"]
