"""The edge helpers: who is calling, how much they may, what an error looks like, whether we are well."""
