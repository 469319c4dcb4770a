"""The operators and methods of arrays, built from the functions of the other folders."""
