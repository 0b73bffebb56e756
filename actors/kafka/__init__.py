"""The Kafka clients; nothing else imports one."""
