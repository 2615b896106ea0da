"""Text out of an object array, without unpickling it.

NumPy keeps an object array as a pickle. Here a pickle is never loaded: its opcodes are read as data
and followed by the tables below, in which a named global is only a name, a call only a note that
somebody wanted one, and the only values are text, bytes, small numbers and lists of them. Anything
else ends the reading.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from quest_backend.qa.problems import BadRecording, ProblemCode

MAX_PICKLE_BYTES = 1024 * 1024
_MAX_OPCODES = 1000


def _refuse(what: str) -> BadRecording:
    return BadRecording(ProblemCode.REFUSED_OBJECT, f"metadata.npy: an object array that {what}")


@dataclass(frozen=True, slots=True)
class _Name:
    """A global that the pickle names. Never looked up."""

    text: str


@dataclass(slots=True)
class _Dtype:
    """A call of ``numpy.dtype``; only that of objects is accepted."""


@dataclass(slots=True)
class _Array:
    """A call of ``_reconstruct``; ``items`` come with the state that is built into it."""

    items: list[Any] = field(default_factory=list)
    shape: Any = None


class _Mark:
    """Where a tuple or list starts on the stack."""


_MARK = _Mark()
_RECONSTRUCT = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
_ENCODE = "_codecs encode"


class _Follower:
    """The stack and memo of a pickle, holding plain values and notes only."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.made_bytes = 0

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise _refuse("is damaged")
        return self.stack.pop()

    def since_mark(self) -> list[Any]:
        items: list[Any] = []
        while self.stack:
            top = self.stack.pop()
            if top is _MARK:
                return items[::-1]
            items.append(top)
        raise _refuse("is damaged")

    def several(self, count: int) -> tuple[Any, ...]:
        return tuple(self.pop() for _ in range(count))[::-1]

    def append(self, items: list[Any]) -> None:
        target = self.pop()
        if type(target) is not list:
            raise _refuse("is damaged")
        target.extend(items)
        self.stack.append(target)

    def global_from_stack(self) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise _refuse("is damaged")
        self.stack.append(_name(f"{module} {name}"))

    def reduce(self) -> None:
        arguments, called = self.pop(), self.pop()
        if type(called) is not _Name or type(arguments) is not tuple:
            raise _refuse("calls something")
        made = _called(called.text, arguments)
        if type(made) is bytes:
            # The same long text can be encoded hundreds of times by a few opcodes each.
            self.made_bytes += len(made)
            if self.made_bytes > MAX_PICKLE_BYTES:
                raise _refuse("is too long")
        self.stack.append(made)

    def build(self) -> None:
        state, target = self.pop(), self.pop()
        if type(target) is _Array and type(state) is tuple and len(state) == 5:
            target.shape, items = state[1], state[4]
            if type(state[2]) is not _Dtype or type(items) is not list:
                raise _refuse("is damaged")
            target.items = items
        elif type(target) is not _Dtype:
            raise _refuse("sets the state of something")
        self.stack.append(target)

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise _refuse("is damaged")
        self.stack.append(self.memo[index])

    def remember(self, index: int) -> None:
        value = self.pop()
        self.stack.append(value)
        self.memo[index] = value


def _name(text: str) -> _Name:
    if text not in {*_RECONSTRUCT, "numpy ndarray", "numpy dtype", _ENCODE}:
        raise _refuse("names more than plain bytes or text needs")
    return _Name(text)


def _called(name: str, arguments: tuple[Any, ...]) -> Any:
    if name in _RECONSTRUCT and arguments[:1] == (_Name("numpy ndarray"),):
        return _Array()
    if name == "numpy dtype" and arguments[:1] in (("O8",), ("O4",), ("O",)):
        return _Dtype()
    if name == _ENCODE and len(arguments) == 2 and arguments[1] in ("latin1", "latin-1"):
        # How protocol 2 writes bytes. Others than Latin-1 raise a ValueError.
        text = arguments[0]
        return text.encode("latin-1") if type(text) is str else None
    raise _refuse("calls something")


# Every opcode that is followed. There is none for dicts, sets, instances, persistent ids,
# extension codes, buffers, or calls by keyword.
_IGNORED = {"PROTO", "FRAME"}
_ARGUMENTS = {
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "INT", "BININT", "BININT1", "BININT2",
}  # fmt: skip
_CONSTANTS: dict[str, Any] = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
    "MARK": _MARK,
    "EMPTY_TUPLE": (),
}
_VALUES: dict[str, Callable[[_Follower], Any]] = {
    "EMPTY_LIST": lambda _: [],
    "TUPLE": lambda follower: tuple(follower.since_mark()),
    "LIST": _Follower.since_mark,
    "TUPLE1": lambda follower: follower.several(1),
    "TUPLE2": lambda follower: follower.several(2),
    "TUPLE3": lambda follower: follower.several(3),
}
_ACTIONS: dict[str, Callable[[_Follower], None]] = {
    "APPEND": lambda follower: follower.append([follower.pop()]),
    "APPENDS": lambda follower: follower.append(follower.since_mark()),
    "STACK_GLOBAL": _Follower.global_from_stack,
    "REDUCE": _Follower.reduce,
    "BUILD": _Follower.build,
    "MEMOIZE": lambda follower: follower.remember(len(follower.memo)),
}
_INDEXED: dict[str, Callable[[_Follower, Any], None]] = {
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Follower.remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Follower.recall),
}


def _step(follower: _Follower, opcode: str, argument: Any) -> None:
    if opcode in _IGNORED:
        return
    if opcode in _ARGUMENTS:
        follower.stack.append(argument)
    elif opcode in _CONSTANTS:
        follower.stack.append(_CONSTANTS[opcode])
    elif opcode in _VALUES:
        follower.stack.append(_VALUES[opcode](follower))
    elif opcode in _ACTIONS:
        _ACTIONS[opcode](follower)
    elif opcode in _INDEXED:
        _INDEXED[opcode](follower, argument)
    elif opcode == "GLOBAL":
        follower.stack.append(_name(argument))
    else:
        raise _refuse(f"needs the pickle opcode {opcode}")


def only_text(pickled: bytes) -> bytes | str:
    """The one bytes or text in a pickled object array of one element.

    Raises:
        BadRecording: anything else is in it, it is longer than ``MAX_PICKLE_BYTES``, or damaged.
    """
    if len(pickled) > MAX_PICKLE_BYTES:
        raise _refuse("is too long")
    array = _follow(pickled)
    if type(array) is not _Array or array.shape not in ((), (1,)) or len(array.items) != 1:
        raise _refuse("does not hold one element")
    item = array.items[0]
    if type(item) is bytes or type(item) is str:
        return item
    raise _refuse("holds something else than plain bytes or text")


def _follow(pickled: bytes) -> Any:
    follower = _Follower()
    try:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(pickled)):
            if opcode.name == "STOP":
                break
            if number > _MAX_OPCODES:
                raise _refuse("is too long")
            _step(follower, opcode.name, argument)
    except (ValueError, IndexError, OverflowError, MemoryError):
        raise _refuse("is damaged") from None
    if len(follower.stack) != 1:
        raise _refuse("is damaged")
    return follower.stack[0]
