"""The nouns that procedures work on: calls, runs, scopes, services."""
