"""The edge: what a browser speaks, without Ray, Kafka or Redis."""
