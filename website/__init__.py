"""What builds the site of the documentation (`make docs`) and looks it over (`make docs-check`)."""
