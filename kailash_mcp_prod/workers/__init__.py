"""Several processes that serve one application on the same sockets."""
