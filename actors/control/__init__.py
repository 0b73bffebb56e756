"""All Ray calls: what starts, finds and asks the actors. Nothing else calls Ray."""
