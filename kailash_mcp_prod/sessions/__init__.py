"""What agents have going on: their sessions, collaborations and workflows."""
