"""Self-hosted transactional email: templated messages in over HTTP, mail out over SMTP, nothing lost in between."""
