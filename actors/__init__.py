"""The actors and the pure decisions they carry."""
