"""Values and the handles that `main` sees of them: who holds what, never the data itself."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from mpcrt.errors import MpcrtError, UsageError, UserFunctionError
from mpcrt.plan.types import Type
from mpcrt.runtime import nodes, trees
from mpcrt.runtime.placements import Group, Party, Placement, Public, Spu

if TYPE_CHECKING:
    from mpcrt.runtime.session import Session


class Wire:
    """A value on a device, by number. When the last reference goes, `dropped` is called once with the number."""

    __slots__ = ("device", "dropped", "number")

    def __init__(self, device: str, number: int, dropped: Callable[[str, int], None]) -> None:
        self.device, self.number, self.dropped = device, number, dropped

    def __del__(self) -> None:
        self.dropped(self.device, self.number)


class Value:
    """What call `number` gives.

    The engine fills it in: `structure` and `types` once they are known here, `leaves` where it is held in plaintext,
    `wires` and their `forms` (visibility, how they are held) where it is on a device. `treedef` is JAX's own, of a
    value with nodes beside dict, list and tuple (not `plain`); who made the value has it, others make one of the
    structure. `shared` maps what was made of it on a device to its wire, `kinds` a leaf to what the tracer sees of it.
    An `ownerless` value is shared as a secret of nobody's. `error` is there instead of all that where the call failed
    before anything was shared. `ran`: the call has ended here."""

    def __init__(self, number: int, placement: Placement, origin: str) -> None:
        self.number, self.placement, self.origin = number, placement, origin
        self.structure: trees.Structure = None
        self.types: tuple[trees.LeafType, ...] | None = None
        self.leaves: list[Any] | None = None
        self.wires: list[Wire] | None = None
        self.treedef: Any = None
        self.plain = True
        self.forms: list[tuple[str, str]] | None = None
        self.plan_types: list[Type] = []
        self.shared: dict[Any, Wire] = {}
        self.kinds: dict[Any, Any] = {}
        self.ownerless = self.ran = False
        self.error: MpcrtError | None = None
        self.trace_seconds = 0.0

    @property
    def known(self) -> bool:
        """Whether structure and types are known here."""
        return self.types is not None

    def describe(self, structure: trees.Structure, types: tuple[trees.LeafType, ...]) -> None:
        """Set what is known of the value without its data."""
        self.structure, self.plain = structure, trees.is_plain(structure)
        self.types = types

    def treedef_of(self, path: trees.Path) -> Any:
        """JAX's treedef of what is under a path."""
        if self.treedef is None:
            assert self.types is not None
            self.treedef = nodes.treedef(trees.unflatten(self.structure, [0] * len(self.types)))
        structure, treedef = self.structure, self.treedef
        for key in path:
            at = trees.child(structure, key)
            structure, treedef = trees.children(structure)[at], treedef.children()[at]
        return treedef


class Handle:
    """Stands for a value that some party or device holds. It moves with `.to(...)` and is used by placement functions.

    `handle["w"]`, `handle[0]` and `handle.field` go into dicts, lists, tuples and records; `params, loss = handle` and
    `len(handle)` work as on what it stands for. These, and `.shape` and `.dtype` of an array, wait for the owner's
    metadata. What would need the data raises UsageError, except on a public value, which all parties know.
    """

    __slots__ = ("__weakref__", "_path", "_session", "_value")

    def __init__(self, session: Session, value: Value, path: trees.Path = ()) -> None:
        self._session, self._value, self._path = session, value, path

    # -- what is known of it

    @property
    def placement(self) -> Placement:
        """Where the value is."""
        return self._value.placement

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape; waits for the owner's metadata."""
        return self._leaf_type("shape").shape

    @property
    def dtype(self) -> np.dtype:
        """The array's dtype; waits for the owner's metadata."""
        name = self._leaf_type("dtype").dtype
        if name == "bfloat16":
            import ml_dtypes

            return np.dtype(ml_dtypes.bfloat16)
        return np.dtype(name)

    def _leaf_type(self, what: str) -> trees.LeafType:
        self._session.wait_known(self._value)
        part = structure_of(self)
        assert self._value.types is not None
        if not isinstance(part, int):
            raise UsageError(f"{self!r} has no {what}: it is not one array; index it first")
        return self._value.types[part]

    # -- moving

    @overload
    def to(self, target: Public, /) -> Any: ...

    @overload
    def to(self, *targets: Party | Spu | Group | str) -> Handle: ...

    def to(self, *targets: Placement | str) -> Any:
        """The value at another placement: `.to(bob)`, `.to(alice, bob)`, `.to(spu)`, `.to(mpcrt.public)`."""
        return self._session.move(self, targets)

    def block_until_ready(self) -> Handle:
        """Waits until this process has done its part of the call that gives this value; then the handle itself.

        Raises the error of a call that could not be run: TraceError, InputError, UsageError or UserFunctionError."""
        self._session.wait_run(self._value)
        return self

    def __getitem__(self, key: Any) -> Handle:
        array = isinstance(self.placement, Public) and not isinstance(key, str) and isinstance(self._known(), int)
        if array:
            return self._data("indexing")[key]
        if not isinstance(key, str | int) or isinstance(key, bool):
            raise UsageError(
                f"{self!r}[{key!r}]: a handle is indexed by dict keys and positions; slice arrays in a function"
            )
        made = Handle(self._session, self._value, (*self._path, key))
        if self._value.known:
            structure_of(made)
        return made

    # -- what main cannot see

    def _data(self, what: str) -> Any:
        if isinstance(self._value.placement, Public):
            return self._session.public_value(self)
        raise UsageError(
            f"{what} of {self!r}: main() sees handles, never data; use it in a function of its placement, "
            f"or reveal it first with .to(party) or .to(mpcrt.public)"
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = np.asarray(self._data("np.asarray"))
        return array.astype(dtype) if dtype is not None else array

    def __jax_array__(self) -> Any:
        return np.asarray(self._data("a JAX function"))

    if not TYPE_CHECKING:  # a type checker refuses what it does not find above; fields are indexed there

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):  # what libraries look for in any object
                raise AttributeError(name)
            if self._is_node():
                kind, keys = self._known()[0], trees.keys_of(self._known())
                if kind == "r" and name in keys:
                    return self[name]
                if kind == "d" and name in ("keys", "values", "items"):
                    return getattr({key: self[key] for key in keys}, name)
            return getattr(self._data(f"`.{name}`"), name)

    def __bool__(self) -> bool:
        return bool(self._data("bool()"))

    def __float__(self) -> float:
        return float(self._data("float()"))

    def __int__(self) -> int:
        return int(self._data("int()"))

    def __index__(self) -> int:
        return operator.index(self._data("an index"))

    def __complex__(self) -> complex:
        return complex(self._data("complex()"))

    def _known(self) -> trees.Structure:
        """The structure of what it stands for; waits for the owner's metadata."""
        self._session.wait_known(self._value)
        return structure_of(self)

    def _is_node(self) -> bool:
        """Whether it stands for a dict, list, tuple or record that main() sees no more of than its structure."""
        return not isinstance(self.placement, Public) and isinstance(self._known(), list)

    def __len__(self) -> int:
        return len(trees.keys_of(self._known()) if self._is_node() else self._data("len()"))

    def __iter__(self) -> Iterator[Any]:
        if not self._is_node():
            return iter(self._data("iteration"))
        keys = trees.keys_of(structure := self._known())
        return iter(keys if structure[0] == "d" else [self[key] for key in keys])

    def __contains__(self, item: Any) -> bool:
        if self._is_node() and (structure := self._known())[0] == "d":
            return item in trees.keys_of(structure)
        return item in self._data("`in`")

    def __repr__(self) -> str:
        """Where it comes from, what it is where that is known already, and where it is."""
        value, shown = self._value, ""
        with contextlib.suppress(UsageError):  # of a part that turned out not to exist
            shown = f": {trees.describe(structure_of(self), value.types)}" if value.types is not None else ""
        return f"<{value.origin}{''.join(f'[{key!r}]' for key in self._path)}{shown} at {value.placement}>"


def _operator(name: str, symbol: str) -> Callable[..., Any]:
    function = getattr(operator, name)

    def apply(self: Handle, *others: Any) -> Any:
        return function(self._data(f"`{symbol}`"), *others)

    return apply


def _reflected(name: str, symbol: str) -> Callable[..., Any]:
    function = getattr(operator, name)

    def apply(self: Handle, other: Any) -> Any:
        return function(other, self._data(f"`{symbol}`"))

    return apply


for _name, _symbol in {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}.items():
    setattr(Handle, f"__{_name}__", _operator(f"__{_name}__", _symbol))
for _name, _symbol in {"neg": "-", "pos": "+", "abs": "abs", "invert": "~"}.items():
    setattr(Handle, f"__{_name}__", _operator(f"__{_name}__", _symbol))
for _name, _symbol in {
    "add": "+", "sub": "-", "mul": "*", "matmul": "@", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**",
    "and": "&", "or": "|", "xor": "^", "lshift": "<<", "rshift": ">>",
}.items():  # fmt: skip
    setattr(Handle, f"__{_name}__", _operator(f"__{_name}__", _symbol))
    setattr(Handle, f"__r{_name}__", _reflected(f"__{_name}__", _symbol))
Handle.__hash__ = object.__hash__


def parts(handle: Handle) -> tuple[Value, trees.Path]:
    """A handle's value and the path into it."""
    return handle._value, handle._path


def structure_of(handle: Handle) -> trees.Structure:
    """The part of its value's structure that a handle stands for; the structure must be known."""
    value, path = parts(handle)
    structure = value.structure
    for i, key in enumerate(path):
        try:
            structure = trees.children(structure)[trees.child(structure, key)]
        except (KeyError, IndexError, TypeError) as error:
            where = Handle(handle._session, value, path[:i])
            reason = str(error.args[0]) if isinstance(error, KeyError) else str(error)
            raise UsageError(f"{where!r} has no [{key!r}]: {reason}") from None
    return structure


def assemble(handle: Handle, leaves: Sequence[Any]) -> Any:
    """The tree that a handle stands for, made of these leaves of the whole value."""
    (value, path), structure = parts(handle), structure_of(handle)
    if value.plain:
        return trees.unflatten(structure, leaves)
    return value.treedef_of(path).unflatten([leaves[i] for i in trees.leaf_numbers(structure)])


def owner_of(placement: Placement) -> str | None:
    """The party that shares a value of this placement: its owner, or the first of several."""
    if isinstance(placement, Party):
        return placement.name
    return placement.names[0] if isinstance(placement, Group) else None


def on_device(placement: Placement) -> bool:
    return isinstance(placement, Spu)


def handles_in(tree: Any) -> list[Handle]:
    """The handles in a pytree."""
    if isinstance(tree, Handle):
        return [tree]
    if tree is None:
        return []
    if isinstance(tree, dict):
        return [h for v in tree.values() for h in handles_in(v)]
    if isinstance(tree, list | tuple):
        return [h for v in tree for h in handles_in(v)]
    node = nodes.take_apart(tree)
    return handles_in(node[2]) if node is not None else []


def replaced(tree: Any, handle: Callable[[Handle], Any]) -> Any:
    """The tree with what `handle` makes of them in place of handles."""
    if isinstance(tree, Handle):
        return handle(tree)
    if type(tree) is dict:
        return {k: replaced(v, handle) for k, v in tree.items()}
    if type(tree) in (list, tuple):
        return type(tree)(replaced(v, handle) for v in tree)
    if not handles_in(tree):
        return tree
    import jax

    return jax.tree_util.tree_map(
        lambda x: handle(x) if isinstance(x, Handle) else x, tree, is_leaf=lambda x: isinstance(x, Handle)
    )


def flatten_result(result: Any, name: str) -> tuple[trees.Structure, list[Any]]:
    """What a party function gave, with JAX arrays as NumPy's. Raises UserFunctionError for what has no place here."""
    if handles_in(result):
        raise UserFunctionError(f"{name}() gave a handle; a party function works on plain values")
    try:
        structure, leaves = trees.flatten(result)
    except UsageError as error:
        raise UserFunctionError(f"the result of {name}(): {error}") from None
    return structure, [nodes.to_numpy(leaf) for leaf in leaves]
