"""The record store that runs SQL of its own on the tables of DataFlow."""
