"""``--engine ray``: call a function for many items on the machines of a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from basicsr.utils.errors import BasicsrError, DataError, OptionError
from basicsr.utils.installation import ROOT
from basicsr.utils.ordered import in_order

T = TypeVar('T')
R = TypeVar('R')

_RETRIES = 3  # of a task whose process or machine fails
_work: dict[str, Any] = {}  # in a process of Ray: what it has received, with the networks that it has loaded


class RayMap:
    """``map`` over a Ray cluster: the one at ``RAY_ADDRESS``, else one on this machine that ends with the block.

    Each item is a task of one CPU, or of one GPU. Free processes take the next items, so slow items delay nothing;
    tasks whose process or machine fails run again. All machines must see the same files, under the same paths.

    Args:
        device: of the tasks, as for :func:`~basicsr.utils.device.select_device` in their processes. With ``auto``, each
            takes a GPU if the cluster has any; this machine needs none.
        workers: number of processes of a cluster on this machine; None is one per CPU or GPU.

    Raises:
        OptionError: Ray is not installed, the device has a number, or the cluster has no GPU.
    """

    def __init__(self, device: str = 'cpu', workers: int | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise OptionError("--engine ray needs Ray: pip install 'ray>=2.44'") from error
        self._ray: Any = ray
        if device.startswith('cuda:'):
            raise OptionError(f'--engine ray chooses the GPU of each task; use cuda instead of {device}')
        address = os.environ.get('RAY_ADDRESS', 'local')  # without one, Ray would join any cluster on this machine
        here = {'num_cpus': workers, 'include_dashboard': False} if address == 'local' else {}
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH', '')]))
        environment = {'env_vars': {'PYTHONPATH': paths}}
        ray.init(address=address, log_to_driver=False, logging_level='warning', runtime_env=environment, **here)
        found = ray.cluster_resources()
        gpus = device.startswith('cuda') or (device == 'auto' and found.get('GPU', 0) >= 1)
        kind = 'GPU' if gpus else 'CPU'
        self._slots = int(found.get(kind, 0))
        if not self._slots:
            ray.shutdown()
            raise OptionError(f'--engine ray: the cluster has no {kind}')
        self._options = {'num_gpus': 1} if gpus else {'num_cpus': 1}

    def __enter__(self) -> RayMap:
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the cluster; one that was started here ends."""
        self._ray.shutdown()

    def __call__(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """Return ``work(item)`` for each item, in their order; later ones run meanwhile.

        Args:
            work: sent to each process once, with its state; load networks in its first call.
            items: all must be small.

        Returns:
            an iterator; ``next`` raises the error of an item (of this package, OSError, or out of memory) and goes on
            after it.
        """
        task = self._ray.remote(_call).options(max_retries=_RETRIES, **self._options)
        stored = [self._ray.put(work)]
        outcomes = in_order(lambda item: _Task(self._ray, task.remote(stored, item)), items, 2 * self._slots)
        return map(_value_of, outcomes)


@dataclass(frozen=True)
class _Task:
    """A task of Ray; if its process fails again and again, this is its error."""

    ray: Any
    reference: Any

    def result(self) -> tuple[Any, Exception | None]:
        try:
            outcome: tuple[Any, Exception | None] = self.ray.get(self.reference)
        except self.ray.exceptions.RayTaskError:  # an error of the work itself, which is a bug
            raise
        except self.ray.exceptions.RayError as error:
            reason = str(error).strip().split('\n')[0]
            text = f'--engine ray: a process failed {_RETRIES + 1} times, perhaps for lack of memory: {reason}'
            return None, DataError(text)
        return outcome


def _value_of(outcome: tuple[Any, Exception | None]) -> Any:
    value, error = outcome
    if error is not None:
        raise error
    return value


def _call(stored: list[Any], item: Any) -> tuple[Any, Exception | None]:
    """Run in a process of Ray; expected errors are results, whose types and messages stay as they are."""
    import ray

    from basicsr.utils.device import is_out_of_memory

    key = stored[0].hex()
    if key not in _work:
        _work.clear()
        _work[key] = ray.get(stored[0])
    try:
        return _work[key](item), None
    except Exception as error:
        if isinstance(error, (BasicsrError, OSError)) or is_out_of_memory(error):
            return None, error
        raise
