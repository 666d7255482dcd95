"""Who exists: the people whom tokens are for, as the main app told us."""
