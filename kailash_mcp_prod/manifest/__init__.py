"""What a start has found out, kept in a file, so that the next one over stdio need not find out.

A manifest holds models, tables and tools as values: no code, no rows and no secrets. It is only
believed while everything it was made from is unchanged; `sources` and `identity` say what that is.
"""
