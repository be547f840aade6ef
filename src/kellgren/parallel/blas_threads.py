"""The threads that NumPy's products of matrices take for themselves."""

from __future__ import annotations

from contextlib import AbstractContextManager

from threadpoolctl import threadpool_limits


def one_blas_thread() -> AbstractContextManager[object]:
    """Products of matrices on one thread from now on, or only within this as a context.

    NumPy's own threads wait for more work by spinning, a while after each product: where several
    knees are graded at a time, on the cores of the others.
    """
    return threadpool_limits(1, user_api="blas")  # type: ignore[no-any-return]
