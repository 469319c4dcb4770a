"""Every public name is explained in its docstring, with an example that doctest finds and runs."""

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

import pullback
from website.names import MODULES, MODULES_INSIDE, public_objects

# what has no docstring of ours, or no example, and why
FOREIGN = {
    "Device",  # the engine's class, and that of lists of devices
    "experimental.colocated_python.serialization.DeviceList",
    "typing.Device",  # Any, as are PyTree and PyTreePrefix
    # NumPy's own classes, under their names there
    *(
        f"numpy.{name}"
        for name in (
            "ComplexWarning",
            "character",
            "complexfloating",
            "flexible",
            "floating",
            "generic",
            "inexact",
            "integer",
            "number",
            "object_",
            "signedinteger",
            "unsignedinteger",
            "dtype",
        )
    ),
    # jaxlib's own classes: the entries of a path, and the structure of a tree
    *(f"tree_util.{name}" for name in ("DictKey", "FlattenedIndexKey", "GetAttrKey", "PyTreeDef", "SequenceKey")),
    # a type alias: Python's tuple
    "tree_util.KeyPath",
    "lax.DotDimensionNumbers",
}

# functions whose docstring states no error, and why
SILENT = {
    # they take no arguments
    "compilation_cache.cache_dir",
    "compilation_cache.clear",
    "compilation_cache.programs",
    "debug.compile_report",
    "debug.counters",
    # anything may be asked about, waited for, or passed through
    "block_until_ready",
    "experimental.hijax.instantiate_zeros",
    "extend.core.instantiate",
    "extend.core.is_linear",
    "numpy.iscomplexobj",
    "numpy.isrealobj",
    "numpy.isscalar",
    "numpy.iterable",
    # policies: `checkpoint` calls them, and with what they expect
    *(
        f"checkpoint_policies.{name}"
        for name in ("checkpoint_dots", "checkpoint_dots_with_no_batch_dims", "everything_saveable", "nothing_saveable")
    ),
    # what a listener raises is passed on
    *(f"monitoring.record_{what}" for what in ("event", "event_duration_secs", "event_time_span", "scalar")),
    # context managers for options of which any value is taken, or that check the value at their entry
    *(
        "default_matmul_precision enable_checks numpy_rank_promotion threefry_partitionable "
        "transfer_guard transfer_guard_device_to_device transfer_guard_device_to_host transfer_guard_host_to_device"
    ).split(),
    # the arguments are those of `dataclasses.field`, which checks them
    "tree.static",
}


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a class of ours defines, or has of another class of ours, as functions."""
    for name, value in inspect.getmembers_static(cls):
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if not name.startswith("_") and inspect.isfunction(function) and function.__module__.startswith("pullback"):
            yield name, function


def found_by_doctest(value: Any) -> bool:
    """Whether the module that an object says it is from holds it, which is where doctest looks."""
    if not hasattr(value, "__qualname__"):
        value = type(value)  # a callable object, such as numpy.float32: its class has the docstring
    place: Any = sys.modules[value.__module__]
    for part in value.__qualname__.split("."):
        place = inspect.getattr_static(place, part, None)
        if isinstance(place, (staticmethod, classmethod)):
            place = place.__func__
        elif isinstance(place, property):
            place = place.fget
    return place is value


OBJECTS = dict(public_objects())
OURS = {name: value for name, value in OBJECTS.items() if name not in FOREIGN}
CLASSES = {name: value for name, value in OURS.items() if inspect.isclass(value)}


def test_the_list_is_the_whole_surface():
    assert len(OURS) > 500
    assert OBJECTS.keys() >= FOREIGN
    assert {
        "grad",
        "lax.exp",
        "numpy.sin",
        "nn.relu",
        "random.normal",
        "scipy.special.erf",
        "external",
        "check_rules",
        "implicit.root",
        "debug.tap",
        "experimental.jet.jet",
        "extend.core.instantiate",
        "checkpoint_policies.nothing_saveable",
        "custom_batching.custom_vmap",
    } <= OURS.keys()
    assert MODULES_INSIDE < set(MODULES)


def test_what_is_exempt_is_not_ours():
    assert [name for name in sorted(FOREIGN) if (OBJECTS[name].__module__ or "").startswith("pullback")] == []


def test_functions_and_classes_have_a_docstring():
    assert [name for name, value in OURS.items() if not (value.__doc__ or "").strip()] == []


def test_functions_and_classes_have_an_example():
    assert [name for name, value in OURS.items() if ">>>" not in (value.__doc__ or "")] == []


def test_functions_say_what_they_raise():
    """In a statement of their own, or by the name of the function that has the same errors."""
    silent = [
        name
        for name, value in OURS.items()
        if name not in CLASSES and not re.search("[Ee]rror|[Rr]aises", value.__doc__ or "")
    ]
    assert sorted(silent) == sorted(SILENT)


def test_methods_and_properties():
    """A docstring each; an example there or in the docstring of the class."""
    lacking = [
        f"{cls}.{name}"
        for cls, value in CLASSES.items()
        for name, function in members(value)
        if not (function.__doc__ or "").strip() or ">>>" not in function.__doc__ + (value.__doc__ or "")
    ]
    assert lacking == []


def test_methods_of_arrays_have_examples_of_their_own():
    assert [name for name, function in members(pullback.Array) if ">>>" not in function.__doc__] == []


def test_examples_are_found_by_doctest():
    methods = {f"{cls}.{name}": function for cls, value in CLASSES.items() for name, function in members(value)}
    lost = [
        name for name, value in {**OURS, **methods}.items() if ">>>" in value.__doc__ and not found_by_doctest(value)
    ]
    assert lost == []


def test_exceptions_are_of_public_modules():
    errors = {name: cls for name, cls in CLASSES.items() if issubclass(cls, BaseException)}
    assert len(errors) > 15
    homes = {cls: importlib.import_module(cls.__module__) for cls in errors.values()}
    hidden = [name for name, cls in errors.items() if "._" in cls.__module__]
    assert hidden == []  # tracebacks show the module, which programs then import the class from
    assert all(getattr(home, cls.__name__) is cls for cls, home in homes.items())
