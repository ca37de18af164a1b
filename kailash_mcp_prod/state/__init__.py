"""The server's own state: small tables beside those of the application."""
