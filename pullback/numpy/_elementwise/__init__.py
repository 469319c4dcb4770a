"""Functions of numbers, entry by entry, and the promotion of their operands."""
