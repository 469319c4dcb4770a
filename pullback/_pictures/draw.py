"""`draw`: a picture of a program, and of what a transformation makes of it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence

from pullback._core.arguments import check_callable
from pullback._core.errors import boundary, wrapping
from pullback._core.typing import PyTree
from pullback._pictures.compiled_graphs import compiled_graph
from pullback._pictures.folding import folded
from pullback._pictures.graphs import Graph, graph_of
from pullback._pictures.html import html_of, page_of
from pullback._pictures.layout import is_there
from pullback._pictures.programs import TRANSFORMS, examples, numbered, numbered_by_line, traced, transformed
from pullback._pictures.svg import svg_of
from pullback._pictures.text import text_of


class Picture:
    """A picture of a program, or of one and what a transformation makes of it; notebooks show it.

    `svg` and `html` need the extra `draw` (`pip install pullback[draw]`), ImportError says so without it; `text` and
    `str` need nothing. `operations` counts those of each program, `residuals` those that the last one keeps for its
    backward pass, and `residual_bytes` their memory.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> picture = pb.debug.draw(lambda x: pnp.sin(x) * 2., transform="grad")(1.)
    >>> picture.operations, picture.residuals, picture.residual_bytes
    ([2, 6], 1, 4)
    """

    def __init__(self, graphs: Sequence[Graph], limit: int):
        self._graphs = graphs
        self._limit = limit

    @property
    def operations(self) -> list[int]:
        """The number of operations of each program, those inside of loops and calls once."""
        return [graph.operations for graph in self._graphs]

    @property
    def residuals(self) -> int:
        """The number of values that the last program keeps for its backward pass."""
        return len(self._graphs[-1].kept)

    @property
    def residual_bytes(self) -> int:
        """The memory of those values; in a loop that of one step."""
        return sum(self._graphs[-1].kept)

    @functools.cached_property
    @boundary
    def svg(self) -> str:
        """The picture as SVG, light or dark as the reader prefers. ImportError without the extra `draw`."""
        return svg_of([folded(graph, self._limit) for graph in self._graphs])

    @functools.cached_property
    @boundary
    def html(self) -> str:
        """The picture as a page, with what is folded to be unfolded. ImportError without the extra `draw`."""
        return page_of(self._graphs, self._limit)

    @functools.cached_property
    def text(self) -> str:
        """The picture as text, a line for an operation."""
        return text_of([folded(graph, self._limit) for graph in self._graphs])

    @boundary
    def save(self, path: os.PathLike[str] | str) -> None:
        """Write the picture into a file, whose name ends with .svg, .html or .txt; ValueError for another.

        >>> import pullback as pb, tempfile
        >>> picture = pb.debug.draw(lambda x: 2. * x)(1.)
        >>> picture.save(os.path.join(tempfile.mkdtemp(), "double.txt"))
        """
        name = os.fspath(path)
        form = {".svg": "svg", ".html": "html", ".txt": "text"}.get(os.path.splitext(name)[1].lower())
        if form is None:
            raise ValueError(f"save: the name of the file must end with .svg, .html or .txt, got {name!r}")
        content = getattr(self, form)  # before the file is opened: it may need a package that is missing
        with open(name, "w", encoding="utf-8") as file:
            file.write(content)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def _repr_svg_(self) -> str | None:
        return self.svg if is_there() else None

    def _repr_html_(self) -> str | None:
        return html_of(self._graphs, self._limit) if is_there() else None


@boundary
def draw(fun: Callable, *, transform: str | None = None, limit: int = 60) -> Callable[..., Picture]:
    """A function that returns a picture of the program that `fun` is for its arguments; it computes nothing.

    The picture shows the operations with their types, functions with custom rules marked, loops and branches as boxes,
    calls folded. With a transformation, what it makes of the program stands beside it, and an operation has the number
    of the one that it is, or is the derivative of. In a program with a backward pass, as of `grad(f)`, values that the
    forward pass keeps for it are drawn with their bytes; operations have the same number as derivatives of their line.

    Args:
      fun: a function of arrays or pytrees of arrays.
      transform: "grad", "vjp" or "jvp", of all floating-point arguments; "vmap", along the leading axes of all; "jit",
        the instructions that XLA compiles, where one that fuses others has the number of its result; or None.
      limit: the number of nodes from which a program is folded: by loops, by source lines, then by functions.

    Returns: a function with the arguments of `fun`, or their types (`ShapeDtypeStruct`), that returns a `Picture`.
    Raises: TypeError for arguments or results that are not arrays, and where the transformation does not apply;
      ValueError for another transformation, or a limit below 1.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> def log1pexp(x):
    ...     return pnp.log(1 + pnp.exp(x))
    >>> print(pb.debug.draw(log1pexp, transform="grad")(2.))
    log1pexp: 3 operations
      x                f32[]
      %1 = exp         f32[]  x   #1  ...
      %2 = add 1.0     f32[]  %1  #2  ...
      %3 = log         f32[]  %2  #3  ...
      result           f32[]  %3
    <BLANKLINE>
    grad of log1pexp: 6 operations, keeps 2 residuals of 8 B
    ...
    """
    check_callable("draw", fun)
    if transform is not None and transform not in TRANSFORMS:
        raise ValueError(f"draw: transform must be one of {', '.join(TRANSFORMS)} or None, got {transform!r}")
    if not isinstance(limit, int) or limit < 1:
        raise ValueError(f"draw: limit must be a positive number of nodes, got {limit!r}")

    @boundary
    @wrapping(fun)
    def drawn(*args: PyTree, **kwargs: PyTree) -> Picture:
        size = 0
        if transform == "vmap":
            args, kwargs, size = examples(fun, args, kwargs)
        program = traced(fun, args, kwargs)
        jaxpr = program.closed.jaxpr
        if transform is None:
            return Picture([graph_of(program, numbered_by_line(jaxpr))], limit)
        numbers = numbered(jaxpr)
        if transform == "jit":
            return Picture([graph_of(program, numbers, False), compiled_graph(program, numbers)], limit)
        after = transformed(fun, program, transform, size)
        return Picture([graph_of(program, numbers, False), graph_of(after, numbers)], limit)

    return drawn
