"""Constants, dtypes and queries about them."""
