"""Who did what: an append-only record for people, with no secret in it."""
