"""Calls of functions whose derivative and batching rules their author gives."""
