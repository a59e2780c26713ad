"""`costscope demo`: many agents, three tenants, nested budgets, a killed worker, and two bills that must agree."""
