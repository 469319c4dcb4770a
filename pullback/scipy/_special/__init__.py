"""Parts of `pullback.scipy.special`, by subject."""
