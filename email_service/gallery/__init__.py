"""A local page that shows templates while they are written; it runs on an author's machine and never in production."""
