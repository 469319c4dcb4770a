"""What taps and messages learn from inside other primitives."""
