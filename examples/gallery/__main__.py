"""Run programs of the gallery, print their figures, and draw them."""

import argparse
import importlib
import importlib.util
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("[a-z]*.py"))


def draw(name, program, result, folder):
    """A picture that can be seen on light and dark pages."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    grey = dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "text.color"), "#808080")
    with pyplot.rc_context({**grey, "axes.facecolor": "none", "figure.facecolor": "none", "legend.frameon": False}):
        figure, axes = pyplot.subplots(figsize=(5, 3.2), layout="constrained")
        program.draw(axes, result)
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / f"{name}.svg")
        pyplot.close(figure)


def main():
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--out", type=Path, default=HERE.parent / "out", help="the folder for pictures")
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in NAMES:
            parser.error(f"there is no program {name!r}: {', '.join(NAMES)}")
    for name in arguments.names or NAMES:
        program = importlib.import_module(f"examples.gallery.{name}")
        result = program.run()
        print(f"{name}: {program.__doc__.partition(chr(10))[0]}")
        for what, value in result.items():
            if np.size(value) <= 4 and not isinstance(value, dict):
                print(f"  {what}: {np.round(np.asarray(value), 4)}")
        if importlib.util.find_spec("matplotlib"):
            draw(name, program, result, arguments.out)
            print(f"  {arguments.out / name}.svg")


if __name__ == "__main__":
    main()
