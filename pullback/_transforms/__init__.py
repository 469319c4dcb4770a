"""The transformations, one interpreter a file."""
