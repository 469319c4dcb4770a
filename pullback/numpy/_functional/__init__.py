"""Functions of functions and of samples of functions."""
