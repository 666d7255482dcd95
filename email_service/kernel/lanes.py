"""The lanes of mail, which everything that queues, sends or configures mail has in common."""

LANES = ("token", "transactional", "bulk")  # in the order in which they are served
