"""Provisional: collects what is there."""
import importlib as _importlib
import pathlib as _pathlib

for _f in sorted(_pathlib.Path(__file__).parent.glob("*.py")):
    if _f.stem != "__init__":
        try:
            _m = _importlib.import_module(f"pullback.numpy.{_f.stem}")
        except Exception:
            continue
        for _n in getattr(_m, "__all__", ()):
            globals()[_n] = getattr(_m, _n, None)
