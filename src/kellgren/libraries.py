"""Other people's libraries: which version is here, and what they say, send and leave behind.

The latter is kept out of logs, networks and the user's folders.

pydicom's messages quote the value they are about, which may be a patient's name.
`library_messages_dropped` drops them for the thread that reads a file and leaves other threads'
alone; `silence_dicom_loggers` is for entry points, whose process is theirs.

onnxruntime and OpenVINO count their users by an identifier in the home folder, and send it home,
as soon as they are imported; a Ray cluster that is started here would report its use; matplotlib
writes a list of fonts there. Whoever needs one of them imports it by the functions here, and by
nothing else.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from kellgren.home import cache_folder

_LIBRARY = "pydicom"
_DICOM_LOGGERS = (_LIBRARY, "pynetdicom")
_ABSENT: Any = None  # in `sys.modules`, for a module that an import must not find
_OPENVINO_COUNTER = "openvino_telemetry"
_lock = threading.Lock()
_import_lock = threading.Lock()
_active_blocks = 0


def installed_version(name: str) -> str:
    """Of a package by its name on the index; empty where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


class _ReadingThreadFilter(threading.local, logging.Filter):
    """Applies to the threads that are inside a `library_messages_dropped` block, and to no other.

    It stands in `warnings.filters` where a compiled pattern does, and among a logger's filters.
    """

    dropped: tuple[list[str], ...] = ()  # texts of warnings, one list for each open block

    @property
    def depth(self) -> int:
        """How many blocks the thread is inside of."""
        return len(self.dropped)

    def match(self, text: str) -> bool:
        """Whether a warning is issued by a thread inside a block."""
        for texts in self.dropped:
            texts.append(text)
        return self.depth > 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a log record may pass: not from a thread inside a block."""
        return self.depth == 0


_filter = _ReadingThreadFilter()
_WARNINGS_ENTRY: Any = ("ignore", _filter, Warning, None, 0)


@contextmanager
def library_messages_dropped() -> Iterator[list[str]]:
    """Drop all warnings, and pydicom's log records, that the current thread issues in this block.

    Warnings and logging of other threads are as before, and so are the filters of `warnings` and
    `logging` once no thread is in such a block. Blocks may be nested.

    Yields:
        The texts of the warnings that were dropped so far: they may hold header values.
    """
    global _active_blocks
    with _lock:
        _active_blocks += 1
        _attach()
    dropped: list[str] = []
    _filter.dropped = (*_filter.dropped, dropped)
    try:
        yield dropped
    finally:
        _filter.dropped = _filter.dropped[:-1]
        with _lock:
            _active_blocks -= 1
            if not _active_blocks:
                _detach()


def silence_dicom_loggers() -> None:
    """Keep the log records of pydicom and pynetdicom from all handlers of this process.

    They hold header values, application entity titles and identifiers. For entry points only.
    """
    for name in _DICOM_LOGGERS:
        # Not the level: pydicom sets it anew when it is imported.
        logging.getLogger(name).propagate = False


def _attach() -> None:
    entries: Any = warnings.filters
    # In front of whatever was put there since the last block began.
    if not entries or entries[0] is not _WARNINGS_ENTRY:
        entries.insert(0, _WARNINGS_ENTRY)
    for logger in _loggers():
        logger.addFilter(_filter)


def _detach() -> None:
    entries: Any = warnings.filters
    # A new list: a warning of another thread may be half-way through this one, and would skip the
    # filter after the entry if it were taken out.
    warnings.filters = [entry for entry in entries if entry is not _WARNINGS_ENTRY]
    for logger in _loggers():
        logger.removeFilter(_filter)


def _loggers() -> list[logging.Logger]:
    """Those of the library that exist; a logger's filters do not hold for its children."""
    known = list(logging.Logger.manager.loggerDict.items())
    return [
        logger
        for name, logger in known
        if name.partition(".")[0] == _LIBRARY and isinstance(logger, logging.Logger)
    ]


def import_onnxruntime() -> Any:
    """The module; its telemetry is switched off, which it heeds at its first import only."""
    with _environment(ORT_DISABLE_TELEMETRY="1"):
        import onnxruntime
    return onnxruntime


def import_quantization() -> Any:
    """ONNX Runtime's quantisation, which needs onnx, of the extra ``train``."""
    import_onnxruntime()
    from onnxruntime import quantization

    return quantization


def import_openvino() -> Any:
    """The module, imported as if its telemetry were not installed: it has no switch of its own.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    with _import_lock:
        before = sys.modules.get(_OPENVINO_COUNTER)
        sys.modules[_OPENVINO_COUNTER] = _ABSENT
        try:
            import openvino
        finally:
            del sys.modules[_OPENVINO_COUNTER]
            if before is not None:
                sys.modules[_OPENVINO_COUNTER] = before
    return openvino


@contextmanager
def ray_without_telemetry(**variables: str) -> Iterator[Any]:
    """Lend the module; a cluster that is started in this block does not report its use.

    Args:
        **variables: more of the environment, as a cluster that is started here is to have it.

    Raises:
        ImportError: Ray is not installed.
    """
    # Zero is what Ray itself asks for; the processes of a cluster inherit it.
    with _environment(RAY_USAGE_STATS_ENABLED="0", **variables):
        import ray

        yield ray


def import_matplotlib() -> Any:
    """The module, with its figures and fonts; what it keeps lies in the program's own cache."""
    with _environment(MPLCONFIGDIR=str(cache_folder() / "matplotlib")):
        import matplotlib
        import matplotlib.figure
        import matplotlib.font_manager
    return matplotlib


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Variables that hold for this block only."""
    with _import_lock:
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
