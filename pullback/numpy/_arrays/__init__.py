"""The operators and methods of arrays, made of the functions of the other folders."""
