"""What keeps the server well: limits on rate and concurrency."""
