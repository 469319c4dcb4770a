"""Complete programs of one page each: `run()` computes, `draw(axes, result)` makes a picture of it.

`python -m examples.gallery` runs all, or those named, and draws them into a folder if Matplotlib is installed.
"""
