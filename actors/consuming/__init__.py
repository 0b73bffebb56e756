"""Kafka to logs: the consumer actor, and what it decides."""
