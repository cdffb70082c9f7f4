"""The engine of the pipeline: see docs/architecture.md.

Scripts written before the packages existed may import the modules in MOVED by their old names, so a
team's own sources need no change after an upgrade.
"""

import importlib.abc
import importlib.machinery
import sys
from importlib import import_module as _import_moved  # `closure` finds the real names in MOVED

MOVED = {
    "arcgis": "connectors.arcgis",
    "delimited": "formats.delimited",
    "fdsn": "connectors.fdsn",
    "fetch": "stages.api",
    "fix": "formats.fix",
    "geojson": "formats.geojson",
    "legible": "formats.legible",
    "listing": "connectors.listing",
    "nws": "connectors.nws",
    "openfema": "connectors.openfema",
    "pages": "connectors.paging",
    "preprocess": "stages.preprocess",
    "snapshot": "raw.snapshot",
    "socrata": "connectors.socrata",
    "topojson": "formats.topojson",
}


class _Moved(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports a module in MOVED under its old name: the same module, not a copy."""

    def find_spec(self, name, path=None, target=None):
        package, _, module = name.rpartition(".")
        if package != __name__ or module not in MOVED:
            return None
        return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec):
        module = _import_moved(f"{__name__}.{MOVED[spec.name.rpartition('.')[2]]}")
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module) -> None:
        module.__spec__ = self._own_spec  # importing it under the old name replaced it


sys.meta_path.append(_Moved())
