"""What more than one script of the pipeline needs, and nothing else: see docs/architecture.md.

Scripts of a source that were written before the packages may import the modules in MOVED by their
old names; a team's own sources need no change when it upgrades.
"""

import importlib.abc
import importlib.machinery
import sys
from importlib import import_module as _import_moved  # by a name that `closure` knows from MOVED

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
    """Finds a module of MOVED under its old name: the same module, not a copy."""

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
