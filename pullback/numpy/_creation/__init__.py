"""New arrays: from data, ranges, grids."""
