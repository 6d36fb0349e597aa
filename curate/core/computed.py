"""`computed`: a property that is worked out on first use and kept, without a lock.

`functools.cached_property` of Python before 3.12 works every value of a class out under one lock, whichever object it is of:
threads that each have a batch of their own would cut their words one after the other, the longest work of a pass
(`benchmarks/results/2026-11-21-rules.md`). An object whose properties are computed here belongs to one thread at a time; if
two asked at once, both would work the same value out and one would stay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

Value = TypeVar("Value")


class computed(Generic[Value]):  # noqa: N801  # a decorator, as property is
    """Decorator of a method without arguments: its value stands in the object's `__dict__` under the method's name.

    There an attribute is found before this descriptor is asked, so that the value costs nothing from the second time on.
    """

    def __init__(self, method: Callable[[Any], Value]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> Value: ...
    def __get__(self, instance: object | None, owner: type) -> Self | Value:
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._method(instance)
        return value
