"""Static analysis of programs: dependence of results on inputs, zeros, linearity."""
