"""Run every numbered script of this folder in order; exit with 1 if one fails or makes a false claim."""

import runpy
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).parent


def main():
    sys.path.insert(0, str(HERE))
    failed = []
    for script in sorted(HERE.glob("[0-9][0-9]_*.py")):
        print(f"\n{'=' * 100}\n{script.name}\n{'=' * 100}")
        try:
            runpy.run_path(str(script), run_name="__main__")
        except Exception:
            # The other scripts are still worth a look, so go on and give the verdict at the end.
            traceback.print_exc(file=sys.stdout)
            failed.append(script.name)
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nevery claim holds")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
