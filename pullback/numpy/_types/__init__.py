"""Constants, dtypes and questions about them."""
