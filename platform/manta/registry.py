"""Registry class of objectives, encoders, evaluators, modalities, schedules and sources.

A built-in registers itself by a decorator when its module is imported; the registry imports every
module of its package on first use, so a new file needs no edit anywhere. A user's own package adds
a component through an entry point in the group `manta.<kind>` whose value is the module to import;
a script or notebook registers its own by `manta.objective` and `manta.evaluator`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from manta.errors import ConfigError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """Registry of components of one kind, by name.

    Args:
        kind: plural noun, as users type it in `manta list`; also the entry-point group
            `manta.<kind>`.
        package: the package whose modules hold the built-ins.
        nested: whether modules of the package's own folders hold built-ins too, one level down.
        inside: the one module, or folder, within each of the package's folders that holds the
            built-in with the folder's name; empty where the package's modules do.
    """

    def __init__(self, kind: str, package: str, *, nested: bool = False, inside: str = "") -> None:
        self.kind = kind
        self._package = package
        self._nested = nested
        self._inside = inside
        self._components: dict[str, T] = {}
        self._installed: set[str] = set()
        self._loaded = False

    @property
    def noun(self) -> str:
        """The kind of one component: "modality" of "modalities"."""
        kind = self.kind
        return f"{kind.removesuffix('ies')}y" if kind.endswith("ies") else kind.removesuffix("s")

    def register(self, name: str) -> Callable[[T], T]:
        """Return a class or function decorator that adds a component under a name.

        Registering the same definition again replaces the earlier one, as happens when a module is
        loaded twice or a notebook cell is run again.

        Raises:
            ConfigError: another component has this name.
        """

        def add(component: T) -> T:
            known = self._components.get(name)
            if known is not None and not self._replaces(component, known):
                raise ConfigError(
                    f"{self.kind}: the name {name!r} is registered twice; rename one of them"
                )
            self._components[name] = component
            return component

        return add

    def own(self) -> dict[str, T]:
        """Return the components of this process's own script, notebook and modules, by name.

        These are all that were registered so far and are neither built in nor installed.
        """
        return {
            name: component
            for name, component in self._components.items()
            if not self._built_in(component) and name not in self._installed
        }

    def _replaces(self, component: T, known: T) -> bool:
        if self._built_in(component) != self._built_in(known):
            return False
        # In `__main__` (a script or notebook) the user sees both definitions, and expects the last
        # one to count.
        if getattr(component, "__module__", "") == getattr(known, "__module__", "") == "__main__":
            return True
        names = [getattr(one, "__qualname__", one) for one in (component, known)]
        return bool(names[0] == names[1])

    def _built_in(self, component: T) -> bool:
        return str(getattr(component, "__module__", "")).startswith(f"{self._package}.")

    def __getitem__(self, name: str) -> T:
        self._load_one(name)
        if name not in self._components:
            self._load()
        try:
            return self._components[name]
        except KeyError:
            raise ConfigError(
                f"no {self.noun} is named {name!r}{did_you_mean(name, self)}"
            ) from None

    def __contains__(self, name: object) -> bool:
        self._load_one(str(name))
        if name in self._components:
            return True
        self._load()
        return name in self._components

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._components))

    def __len__(self) -> int:
        self._load()
        return len(self._components)

    def items(self) -> Iterator[tuple[str, T]]:
        """Yield every name with its component, sorted."""
        for name in self:
            yield name, self._components[name]

    def _load_one(self, name: str) -> None:
        """Import the module with the component's name, if there is one."""
        # Importing every module of a kind can take seconds.
        if (
            not self._loaded
            and name.isidentifier()
            and not name.startswith("_")
            and name not in self._components
        ):
            for module in self._modules():
                parts = module.split(".")
                if name == (parts[0] if self._inside else parts[-1]):
                    importlib.import_module(f"{self._package}.{module}")

    def _load(self) -> None:
        if self._loaded:
            return
        # Set before the imports: a module may look up a component while it is imported.
        self._loaded = True
        for module in self._modules():
            importlib.import_module(f"{self._package}.{module}")
        before = set(self._components)
        for point in entry_points(group=f"manta.{self.kind}"):
            point.load()
        self._installed = set(self._components) - before

    def _modules(self) -> Iterator[str]:
        """Yield the modules that hold built-ins, as `byol` or `audio.hubert`, importing none."""
        package = importlib.util.find_spec(self._package)
        for path in (package and package.submodule_search_locations) or ():
            for module in pkgutil.iter_modules([path]):
                if module.name.startswith("_"):
                    continue
                inner: list[str] = []
                if module.ispkg and (self._nested or self._inside):
                    listed = pkgutil.iter_modules([os.path.join(path, module.name)])
                    inner = [one.name for one in listed if not one.name.startswith("_")]
                if self._inside:
                    inner = [name for name in inner if name == self._inside]
                else:
                    yield module.name
                yield from (f"{module.name}.{name}" for name in inner)
