"""Our core judged by others: the official conformance suite, and clients we did not write."""
