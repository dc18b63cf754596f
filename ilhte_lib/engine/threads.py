"""One thread for linear algebra: on matrices as small as an item block, the threads of a BLAS cost more than they give."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

P = ParamSpec("P")
T = TypeVar("T")


def one_blas_thread(function: Callable[P, T]) -> Callable[P, T]:
    """The function, run with NumPy's and SciPy's BLAS held to one thread; what was set before is put back at its end."""

    @wraps(function)
    def held(*args: P.args, **kwargs: P.kwargs) -> T:
        with _libraries().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return held


@cache
def _libraries() -> ThreadpoolController:
    """The BLAS of NumPy and of SciPy, once both are loaded."""
    import scipy.linalg  # noqa: F401
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
