"""What an operator would try on a new installation: log in to each mail server, read the records of each domain."""
