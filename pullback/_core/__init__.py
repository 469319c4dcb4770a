"""Types, dtypes, pytrees, arrays, traces, primitives, jaxprs, errors, configuration: no array mathematics."""
