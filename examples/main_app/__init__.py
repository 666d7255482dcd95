"""A main app: it has the people and their passwords, and leaves mail, links and sessions to the email service."""
