"""The transformations, one interpreter per file."""
