"""The dashboard: pages on which an operator sees what the server does, and why.

It is a small application of its own: a shell of HTML, modules of JavaScript without a framework,
and JSON that each page asks for again while it is looked at. Nothing is kept open between two
questions, so every worker and replica can answer each of them.
"""
