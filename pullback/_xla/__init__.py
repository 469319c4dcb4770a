"""The engine: the only importer of jaxlib. Client, lowering, executables, evaluation."""
