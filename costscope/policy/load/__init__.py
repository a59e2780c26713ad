"""From files, mappings and environment variables to a policy."""
