"""The keys that this service signs with, so that others can verify what it says without asking it."""
