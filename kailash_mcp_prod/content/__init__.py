"""What agents read and are told: resources, prompts and completion over the application's data."""
