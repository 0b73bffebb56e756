"""What reports call the servers under test, and the parts of what they cost. Pure."""

OURS = "doorstep"
PEER = "centrifugo"
NAIVE = "naive"

REDIS = "redis"
KAFKA = "kafka"
"""Its costs are shown, and are nobody's."""
