"""Warm calls of compiled programs: functions that are generated for one kind of call.

Such a function gets the arguments of a call. It takes the arrays from them, runs the program and makes the results, all
without a loop, if structure, static values and types are those that it was made for; else it returns `MISS`. Against
the general registry of pytrees and loops that saves 0.7 of 14 microseconds with ten arrays, and 2 of 17 where they are
in nested dicts. With the look-up in `_api/short_call.py` a warm call takes a third of the time of the general path.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from operator import attrgetter, is_
from typing import Any, NamedTuple

from pullback._core.array import ConcreteArray
from pullback._core.tree import PyTreeDef, tree_structure, treedef_is_leaf
from pullback._xla.executable import Executable
from pullback._xla.uploads import buffers_of, is_small, put_back


class _Miss:
    def __reduce__(self) -> str | tuple[Any, ...]:
        return "MISS"


# the result of a run on arguments that do not match
MISS = _Miss()
# a call: its positional arguments and those by keyword
Call = Callable[[tuple, dict], Any]
# the leaves of a call's arguments, and the key of everything else its program depends on
Read = Callable[[tuple, dict], tuple[Sequence[Any], Any]]

# above these numbers, arguments and results are handled in loops: compiling generated code would take long
_ARRAYS, _NODES, _DEPTH = 250, 600, 20
_aval, _buffer = attrgetter("aval"), attrgetter("_buffer")


class Kind(NamedTuple):
    """What the calls of one kind have in common besides the types of their arrays.

    `tree` is the structure of (positional arguments, arguments by keyword) without the static ones, whose positions and
    names are `static`; `is_static(*values)` tells whether their values are the same, if that can be told without their
    own methods. `read` reads any call, `key` is what it gives for these.
    """

    tree: PyTreeDef
    static: tuple[int | str, ...]
    is_static: Callable[..., bool] | None
    read: Read
    key: Any


def call_of(
    kind: Kind, program: Executable, types: tuple, out_tree: PyTreeDef, consts: Sequence[ConcreteArray]
) -> Call:
    """The function of a call's arguments that runs the program."""
    n, k, m = len(types), len(consts), len(program.out_avals)
    donated = tuple([i - k for i in program.donated])
    if n + k + m <= _ARRAYS:
        reading = _reading(kind)
        if reading is not None:
            result = _building(out_tree) or f"unflatten([{_each('o{}', m)}])"
            maker = _run_maker(reading, n, k, m, result, donated, _witness(program))
            return maker(program.execute, program.handlers, types, consts, program.out_avals, out_tree.unflatten, kind)
    return call_on_leaves(kind, _looped(program, types, out_tree, consts, donated))


def call_on_leaves(kind: Kind, run: Callable[[Sequence[Any]], Any]) -> Call:
    """The function of a call's arguments that applies `run` to their leaves."""
    reading = _reading(kind) if kind.tree.num_leaves <= _ARRAYS else None
    if reading is not None:
        return _leaves_maker(reading, kind.tree.num_leaves)(run, kind)
    read, known, known_hash = kind.read, kind.key, hash(kind.key)

    def call(args, kwargs):
        try:
            leaves, key = read(args, kwargs)
            # a static value that has changed is still equal to itself
            if key != known or hash(key) != known_hash:
                return MISS
        except Exception:  # raised by a user's class, for example: the general path reports it
            return MISS
        return run(leaves)

    return call


@functools.lru_cache(1024)
def _run_maker(
    reading: str, n: int, k: int, m: int, result: str, donated: tuple[int, ...], witness: int | None
) -> Callable[..., Call]:
    """What makes such functions for n arguments, k constants and m results."""
    fit = " and ".join(f"type(a{i}) is ConcreteArray and a{i}.aval is t{i}" for i in range(n)) or "True"
    # inlines array_on_device, which would cost a call each
    made = "o{0} = ConcreteArray(); o{0}.aval = r{0}; o{0}._buffer = b{0}; o{0}._memory = None"
    results = "; ".join(made.format(i) for i in range(m)) or "pass"
    # a program copies what is donated while NumPy has a view of it
    releases = "\n".join(f"        if type(a{i}) is ConcreteArray: a{i}._memory = None" for i in donated)
    deletes = "; ".join(f"type(a{i}) is ConcreteArray and a{i}.delete()" for i in donated) or "pass"
    return _made(
        f"""
def maker(execute, handlers, types, consts, out_types, unflatten, kind):
    ({_each("t{}", n)}) = types
    ({_each("c{}", k)}) = consts
    ({_each("r{}", m)}) = out_types
    is_static = kind.is_static
    def call(args, kwargs):
{reading}
        taken = None
        try:
            if {fit}:
                buffers = [{_each("c{}._buffer", k)}{_each("a{}._buffer", n)}]
            else:
                buffers = None
        except AttributeError:
            buffers = None
        if buffers is None:
            taken = {"None" if witness is None else "[]"}
            buffers = buffers_of(consts, ({_each("a{}", n)}), types, {donated}, taken)
            if buffers is None:
                return MISS
{releases}
        ({_each("b{}", m)}) = execute(buffers).consume_with_handlers(handlers)
        if taken: put_back(taken, b{witness})
        {results}
        {deletes}
        return {result}
    return call
"""
    )


def _witness(program: Executable) -> int | None:
    """A result that tells when a program has run, for the staging buffers that it may take then; None if it has none.

    Not one that is large, since it is held until the next call.
    """
    if program.module.callbacks or program.module.waits:
        return None
    return next((i for i, aval in enumerate(program.out_avals) if is_small(aval)), None)


@functools.lru_cache(1024)
def _leaves_maker(reading: str, n: int) -> Callable[..., Call]:
    return _made(
        f"""
def maker(run, kind):
    is_static = kind.is_static
    def call(args, kwargs):
{reading}
        return run(({_each("a{}", n)}))
    return call
"""
    )


def _made(source: str) -> Callable[..., Call]:
    names: dict[str, Any] = {
        "ConcreteArray": ConcreteArray,
        "MISS": MISS,
        "buffers_of": buffers_of,
        "put_back": put_back,
    }
    exec(source, names)
    return names["maker"]


def _each(part: str, n: int) -> str:
    return "".join(f"{part.format(i)}, " for i in range(n))


def flat_kind(n: int) -> Kind:
    """The kind of calls with n arrays by position."""
    tree = tree_structure(((0,) * n, {}))
    return Kind(tree, (), _no_static, lambda args, kwargs: (args, (tree if not kwargs else None)), tree)


def _no_static() -> bool:
    return True


# --- structures as code ---


def _reading(kind: Kind) -> str | None:
    """Code that assigns the leaves of `args` and `kwargs` to a0, a1, ...; None for structures with other nodes.

    These are those of classes that the user registered: only the registry knows how to take them apart.
    """
    positional, by_name = kind.tree.children()
    positions = [p for p in kind.static if isinstance(p, int)]
    dynamic = [i for i in range(len(positional.children()) + len(positions)) if i not in positions]
    count, names = len(dynamic) + len(positions), _keys(by_name)
    if names is None or kind.is_static is None or kind.tree.num_nodes > _NODES:
        return None
    test = f"len(args) != {count} or len(kwargs) != {len(names) + len(kind.static) - len(positions)}"
    if kind.static:
        values = [f"args[{p}]" if isinstance(p, int) else f"kwargs[{p!r}]" for p in kind.static]
        test += f" or not is_static({', '.join(values)})"
    lines = [f"if {test}: return MISS"]
    sources = [f"args[{i}]" for i in dynamic] + [f"kwargs[{name}]" for name in names]
    counter = iter(range(_NODES))
    leaves = iter(range(_NODES))
    # a tuple of leaves is taken apart at once
    if not kind.static and not names and positional.num_leaves == positional.num_nodes - 1:
        taken = f"({_each('a{}', count)}) = args" if count else "() = args"
        return _indented(["if kwargs: return MISS", "try:", f"    {taken}", "except ValueError: return MISS"])
    for part, source in zip([*positional.children(), *by_name.children()], sources, strict=True):
        if not _read_node(part, source, lines, counter, leaves, 0):
            return None
    return _indented(["try:", *["    " + line for line in lines], "except KeyError: return MISS"])


def _read_node(tree: PyTreeDef, source: str, lines: list[str], counter: Any, leaves: Any, depth: int) -> bool:
    if treedef_is_leaf(tree):
        lines.append(f"a{next(leaves)} = {source}")
        return True
    node, parts = tree.node_data(), tree.children()
    if node is None or depth > _DEPTH:
        return False
    cls, name = node[0], f"n{next(counter)}"
    lines.append(f"{name} = {source}")
    if cls is type(None):
        lines.append(f"if {name} is not None: return MISS")
        return True
    if cls is dict:
        keys = _keys(tree)
        if keys is None:
            return False
    elif cls in (tuple, list):
        keys = [str(i) for i in range(len(parts))]
    else:
        return False
    lines.append(f"if type({name}) is not {cls.__name__} or len({name}) != {len(parts)}: return MISS")
    return all(
        _read_node(part, f"{name}[{key}]", lines, counter, leaves, depth + 1)
        for part, key in zip(parts, keys, strict=True)
    )


def _building(tree: PyTreeDef) -> str | None:
    """An expression of a pytree whose leaves are o0, o1, ..., in order; None for structures with other nodes."""
    leaves = iter(range(_NODES))

    def built(tree: PyTreeDef, depth: int) -> str:
        if treedef_is_leaf(tree):
            return f"o{next(leaves)}"
        node = tree.node_data()
        if node is None or depth > _DEPTH:
            raise ValueError
        cls, parts = node[0], [built(part, depth + 1) for part in tree.children()]
        if cls is type(None):
            return "None"
        if cls is dict:
            keys = _keys(tree)
            if keys is None:
                raise ValueError
            return "{" + ", ".join(f"{key}: {part}" for key, part in zip(keys, parts, strict=True)) + "}"
        if cls not in (tuple, list):
            raise ValueError
        inner = "".join(part + ", " for part in parts)
        return f"({inner})" if cls is tuple else f"[{inner}]"

    try:
        return None if tree.num_nodes > _NODES else built(tree, 0)
    except ValueError:
        return None


def _keys(tree: PyTreeDef) -> list[str] | None:
    """The keys of a dict as literals; None where they have none."""
    keys = tree.node_data()[1]
    return [repr(key) for key in keys] if {*map(type, keys)} <= {str, int} else None


def _indented(lines: Sequence[str]) -> str:
    return "\n".join("        " + line for line in lines)


# --- many arguments ---


def _looped(
    program: Executable,
    types: tuple,
    out_tree: PyTreeDef,
    consts: Sequence[ConcreteArray],
    donated: tuple[int, ...],
) -> Callable[[Sequence[Any]], Any]:
    """The part of the generated functions that follows reading, with loops."""
    execute, handlers, out_types, kinds = program.execute, program.handlers, program.out_avals, {ConcreteArray}
    witness = _witness(program)

    def run(args):
        buffers: Any = None
        if {*map(type, args)} <= kinds and all(map(is_, map(_aval, args), types)):
            try:
                buffers = [*map(_buffer, consts), *map(_buffer, args)]
            except AttributeError:
                pass
        taken: list[Any] | None = None
        if buffers is None:
            taken = None if witness is None else []
            buffers = buffers_of(consts, args, types, donated, taken)
            if buffers is None:
                return MISS
        for i in donated:
            if type(args[i]) is ConcreteArray:
                args[i]._memory = None  # a program copies what is donated while NumPy has a view of it
        outs = execute(buffers).consume_with_handlers(handlers)
        if taken:
            put_back(taken, outs[witness])
        results = []
        for aval, out in zip(out_types, outs, strict=True):
            array = ConcreteArray()  # inlines array_on_device
            array.aval = aval
            array._buffer = out
            array._memory = None
            results.append(array)
        for i in donated:
            if type(args[i]) is ConcreteArray:
                args[i].delete()
        return out_tree.unflatten(results)

    return run
