"""``--engine ray``: call a function for many items on the machines of a Ray cluster."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from basicsr.utils.errors import BasicsrError, OptionError
from basicsr.utils.installation import ROOT

T = TypeVar('T')
R = TypeVar('R')

_RETRIES = 3  # of a task whose process or machine fails
_work: dict[str, Any] = {}  # in a process of Ray: what it has received, with the networks that it has loaded


class RayMap:
    """``map`` over a Ray cluster: the one at ``RAY_ADDRESS``, else one on this machine that ends with the block.

    Each item is a task of one CPU, or of one GPU. Free processes take the next items, so slow items delay nothing;
    tasks whose process or machine fails run again. All machines must see the same files, under the same paths.

    Args:
        gpus: use one GPU per task.
        workers: number of processes of a cluster on this machine; None is one per CPU or GPU.

    Raises:
        OptionError: Ray is not installed, or the cluster has no GPU.
    """

    def __init__(self, gpus: bool = False, workers: int | None = None) -> None:
        try:
            import ray
        except ImportError as error:
            raise OptionError("--engine ray needs Ray: pip install 'ray>=2.44'") from error
        self._ray: Any = ray
        address = os.environ.get('RAY_ADDRESS')
        here = {} if address else {'num_cpus': workers, 'include_dashboard': False}
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH', '')]))
        environment = {'env_vars': {'PYTHONPATH': paths}}
        ray.init(address=address, log_to_driver=False, logging_level='warning', runtime_env=environment, **here)
        kind = 'GPU' if gpus else 'CPU'
        self._slots = int(ray.cluster_resources().get(kind, 0))
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
            an iterator; ``next`` raises the error of an item (of this package, or OSError) and goes on after it.
        """
        task = self._ray.remote(_call).options(max_retries=_RETRIES, **self._options)
        return _Results(self._ray, task, [self._ray.put(work)], iter(items), 2 * self._slots)


class _Results(Iterator[Any]):
    """The results of tasks in order, with a limited number of tasks ahead."""

    def __init__(self, ray: Any, task: Any, stored: list[Any], items: Iterator[Any], ahead: int) -> None:
        self._ray, self._task, self._stored, self._items, self._ahead = ray, task, stored, items, ahead
        self._waiting: deque[Any] = deque()

    def __next__(self) -> Any:
        for item in itertools.islice(self._items, max(0, self._ahead - len(self._waiting))):
            self._waiting.append(self._task.remote(self._stored, item))
        if not self._waiting:
            raise StopIteration
        value, error = self._ray.get(self._waiting.popleft())
        if error is not None:
            raise error
        return value


def _call(stored: list[Any], item: Any) -> tuple[Any, Exception | None]:
    """Run in a process of Ray; errors of this package are results, whose types and messages stay as they are."""
    import ray

    key = stored[0].hex()
    if key not in _work:
        _work.clear()
        _work[key] = ray.get(stored[0])
    try:
        return _work[key](item), None
    except (BasicsrError, OSError) as error:
        return None, error
