"""What an installed package must do before it is uploaded: `python smoke.py VERSION`, away from the source."""

import sys
from importlib.metadata import files, version
from pathlib import Path

import pullback as pb
import pullback.numpy as pnp


@pb.custom_jvp
def log1pexp(x):
    """log(1 + exp(x)), whose derivative by the chain rule is nan where exp(x) overflows."""
    return pnp.log(1.0 + pnp.exp(x))


@log1pexp.defjvp
def log1pexp_jvp(primals, tangents):
    """The tangent is that of the logistic function."""
    (x,), (t,) = primals, tangents
    return log1pexp(x), (1.0 - 1.0 / (1.0 + pnp.exp(x))) * t


def main(expected):
    """Eager and compiled derivatives, batches, the check of a rule, SciPy's kernels, and the files of the package."""
    here = Path(pb.__file__).resolve()
    assert "site-packages" in here.parts, f"{here} is not what was installed"
    assert pb.__version__ == version("pullback") == expected
    installed = {file.as_posix() for file in files("pullback")}
    assert {"pullback/py.typed", "pullback/as_jax/path/jax/__init__.py"} <= installed
    assert not [file for file in installed if file.split("/")[0] in ("tests", "docs", "website", "benchmarks")]
    assert float(pb.grad(log1pexp)(100.0)) == 1.0
    assert pb.jit(pb.vmap(pb.grad(log1pexp)))(pnp.array([0.0, 100.0])).tolist() == [0.5, 1.0]
    assert pb.check_rules(log1pexp, 2.0).ok
    assert abs(float(pb.jit(pb.scipy.special.erf)(0.5)) - 0.5204999) < 1e-6
    assert "jax" not in sys.modules
    pb.print_environment_info()
    print(f"pullback {expected} in {here.parent} works")


if __name__ == "__main__":
    main(sys.argv[1])
