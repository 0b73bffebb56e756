"""How Redis is reached; nothing else knows its wire."""
