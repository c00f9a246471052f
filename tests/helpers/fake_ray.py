"""Ray without processes: tasks run where they are asked for, and the options of each are kept."""

from __future__ import annotations

from typing import Any


class RayError(Exception):
    """Base of Ray's errors."""


class RayTaskError(RayError):
    """An error of the work."""


class WorkerCrashedError(RayError):
    """The process of a task died."""


class FakeRay:
    """The part of Ray's interface that ``--engine ray`` uses.

    Args:
        resources: of the cluster.
        crashes: number of results, from the first one, that fail as if their process had died.
    """

    exceptions = __import__('sys').modules[__name__]

    def __init__(self, resources: dict[str, float], crashes: int = 0) -> None:
        self._resources, self._crashes = resources, crashes
        self.options: list[dict[str, Any]] = []
        self._stored: dict[str, Any] = {}

    def init(self, address: str, **_: Any) -> None:
        """Keep the address."""
        self.address = address

    def shutdown(self) -> None:
        """Do nothing."""

    def cluster_resources(self) -> dict[str, float]:
        return self._resources

    def put(self, value: Any) -> Reference:
        reference = Reference(f'{id(self)} {len(self._stored)}')
        self._stored[reference.hex()] = value
        return reference

    def get(self, reference: Reference) -> Any:
        if reference.hex() in self._stored:
            return self._stored[reference.hex()]
        if self._crashes:
            self._crashes -= 1
            raise WorkerCrashedError('the worker died unexpectedly')
        return reference.value

    def remote(self, function: Any) -> Any:
        ray = self

        class Task:
            def options(self, **options: Any) -> Any:
                ray.options.append(options)
                return self

            def remote(self, *arguments: Any) -> Reference:
                return Reference('', function(*arguments))

        return Task()


class Reference:
    """A stored value, or the result of a task."""

    def __init__(self, name: str, value: Any = None) -> None:
        self._name, self.value = name, value

    def hex(self) -> str:
        return self._name
