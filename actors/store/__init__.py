"""What is kept in Redis: the users' logs and feeds, contexts with parked events, offset checkpoints."""
