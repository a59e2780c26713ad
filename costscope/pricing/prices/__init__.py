"""What a call costs: prices from the user, installed sources, genai-prices; unknown is refused, never free."""
