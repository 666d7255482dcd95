"""Addresses that must not be mailed, and why."""
