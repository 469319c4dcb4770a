"""What is known of a program without running it: where values come from, zeros, linearity."""
