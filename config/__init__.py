"""Settings, contracts and routes."""
