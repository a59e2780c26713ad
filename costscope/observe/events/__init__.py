"""One stream of typed records that callbacks, logs, webhooks and telemetry all consume."""
