"""Tests of what is kept in Redis, on real servers."""
