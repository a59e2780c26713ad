"""OpenTelemetry metrics and spans.

Scopes are summed in integers while they run and recorded when they close; what is rare is counted as it happens.
"""
