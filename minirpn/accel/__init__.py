"""Faster implementations of the operations of `minirpn.boxes`, `minirpn.nn` and `minirpn.rpn`.

Nothing here is needed to understand the network: each operation is defined by the array code in the
body of its function. `use` forces an implementation, for teaching, debugging and tests; `available`
lists what this machine has.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator

from minirpn._typing import Array
from minirpn.accel.dispatch import CHOICES, OPERATIONS, Operation, accelerated
from minirpn.accel.implementation import Implementation

__all__ = ["Implementation", "Operation", "accelerated", "available", "operations", "use"]


def operations() -> dict[str, Operation]:
    """Return every operation by name."""
    for module in ("boxes", "nn", "rpn"):  # they define the operations
        importlib.import_module(f"minirpn.{module}")
    return dict(sorted(OPERATIONS.items()))


def available(array: Array | None = None) -> dict[str, tuple[str, ...]]:
    """Return the implementations that can run on this machine, slowest first, by operation.

    Parameters
    ----------
    array
        Return only those that support arrays of this kind; None for all.

    Examples
    --------
    >>> import numpy as np
    >>> from minirpn import accel
    >>> accel.available(np.zeros(1))["iou"][:2]
    ('loops', 'array')
    """
    return {
        name: tuple(
            one.name
            for one in operation.implementations
            if (array is None or one.supports(array)) and one.is_available()
        )
        for name, operation in operations().items()
    }


@contextlib.contextmanager
def use(implementation: str, *names: str) -> Iterator[None]:
    """Run the named implementation inside a ``with`` block.

    Parameters
    ----------
    implementation
        Such as ``"loops"``, ``"array"`` or ``"numba"``.
    names
        The operations it is for, such as ``"iou"``. Without any: every operation that has an
        implementation of this name. For all other operations the choice is automatic, also where a
        named one calls them (as NMS calls IoU); but ``"conv2d"`` includes ``"conv2d_relu"``.

    Raises
    ------
    ValueError
        There is no such operation, or a named operation (or, with none named, every operation) has
        no such implementation.

    Examples
    --------
    >>> import numpy as np
    >>> from minirpn import accel, boxes
    >>> with accel.use("loops"):
    ...     boxes.iou(np.array([[0.0, 0, 2, 2]]), np.array([[0.0, 0, 2, 1]])).item()
    0.5
    """
    known = operations()
    for name in names:
        if name not in known:
            raise ValueError(f"no operation {name!r}; there are {', '.join(known)}")
    if "conv2d" in names:
        names = (*names, "conv2d_relu")
    wanted = names or tuple(known)
    having = [name for name in wanted if implementation in known[name].by_name]
    if not having or (names and len(having) < len(names)):
        others = sorted({other for name in wanted for other in known[name].by_name})
        raise ValueError(
            f"no implementation {implementation!r} for {', '.join(wanted)}; "
            f"there are {', '.join(others)}"
        )
    choices = dict(CHOICES.get() or {})
    choices.update(dict.fromkeys(names, implementation) if names else {"*": implementation})
    token = CHOICES.set(choices)
    try:
        yield
    finally:
        CHOICES.reset(token)
