"""The `email-service` command: what operators type.

Every failure is one sentence on standard error and a non-zero exit.
"""

from email_service.cli.main import main

__all__ = ["main"]
