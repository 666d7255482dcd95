"""The documentation of the HTTP interface as a page. Draws what `/openapi.json` says and knows no call itself."""
