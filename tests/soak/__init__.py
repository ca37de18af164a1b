"""Hundreds of agents on two replicas, whose database, Redis and processes fail again and again."""
