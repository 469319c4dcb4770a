"""Random programs, each compared with itself under every transformation, with XLA and with JAX: see __main__.py."""
