"""What agents keep between calls: sessions, collaboration and sessions of workflows."""
