"""What programs and people see of budgets: events, webhooks, metrics, reports."""
