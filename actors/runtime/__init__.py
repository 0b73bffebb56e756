"""What every actor needs, whatever it does."""
