"""Sign-ins that last: a family of rotating refresh tokens for each, and the access tokens issued from it."""
