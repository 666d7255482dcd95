"""Calling applications: who they are, the API keys they hold and what those allow."""
