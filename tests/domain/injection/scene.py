"""A clone with two sources and three marts, its publishers, and a proxy for its database."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from clone import Clone, shrink
from publisher import Answer
from twelve import PACKAGED, Twelve, twelve
from upstream import faults

from injection import invariants
from injection.injector import Done, Page, Zygote, compile_library
from injection.proxy import Proxy
from injection.readers import Readers
from pipeline.settings import BUNDLED

PLAIN, PAGED = "bls_unemployment", "fema_disaster_declarations"
SOURCES = (PLAIN, PAGED)
SECRETS = {"SOCRATA_APP_TOKEN": "marker-of-a-token"}
PASSWORD = "marker-of-a-password"  # of DATABASE_URL; over its socket the server asks for none
SAVED = ("raw", "state", "preprocessed", "quarantine")
RATES = next(path for path, file in PACKAGED.items() if file.startswith(PLAIN))

MODELS = {
    "staging/_sources.yml": f"""
version: 2
sources:
  - name: source
    schema: source
    tables: [{{name: {PLAIN}}}, {{name: {PAGED}}}]
""",
    "staging/stg_rates.sql": f"""
select id, rate::numeric as rate
from {{{{ source('source', '{PLAIN}') }}}}""",
    "staging/stg_places.sql": f"""
select id, "disasterNumber" as disaster, "declarationTitle" as title
from {{{{ source('source', '{PAGED}') }}}}""",
    "marts/rates.sql": "select id, rate from {{ ref('stg_rates') }}",
    "marts/highest_rates.sql": "select max(rate) as rate from {{ ref('rates') }}",
    "marts/places.sql": """
select id, disaster, title, (select sum(rate) from {{ ref('rates') }}) as rates
from {{ ref('stg_places') }}""",
    "marts/marts.yml": """
version: 2
models:
  - name: rates
    config: {contract: {enforced: false}}
    columns: [{name: id, data_tests: [unique]}]
  - name: highest_rates
    config: {contract: {enforced: false}}
  - name: places
    config: {contract: {enforced: false}}
    columns: [{name: id, data_tests: [unique]}]
""",
}
# Of each mart its sources, and what it is by them.
MARTS = {
    "rates": ((PLAIN,), f"select id, rate::numeric as rate from source.{PLAIN}"),
    "highest_rates": ((PLAIN,), f"select max(rate::numeric) as rate from source.{PLAIN}"),
    "places": (
        SOURCES,
        f"""select id, "disasterNumber" as disaster, "declarationTitle" as title,
            (select sum(rate::numeric) from source.{PLAIN}) as rates
        from source.{PAGED}""",
    ),
}


@dataclass
class Publishers:
    """The publishers' data in a version, and the response with a fault."""

    known: Twelve
    version: int = 0
    few: bool = False  # a tenth of the rows
    count: int = 0  # responses since `arm`
    at: int = 0
    spoil: faults.Fault | None = None
    _rows: bytes = field(default_factory=(BUNDLED / PLAIN / "unemployment.tsv").read_bytes)

    def __post_init__(self):
        self.known.answer("cdn.jsdelivr.net", RATES, lambda request: Answer(self.rates()))
        for path, answers in list(self.known.publisher.answers.items()):
            self.known.publisher.answers[path] = self._counted(answers)

    def rates(self) -> bytes:
        """The file of rates: the rate of the first county is the version."""
        lines = self._rows.splitlines(keepends=True)
        lines[1] = b"1001\t.%06d\n" % self.version
        return b"".join(lines[: len(lines) // 10] if self.few else lines)

    def tell(self, version: int) -> None:
        """Give both data sets another version."""
        self.version = version
        data = self.known.declarations
        data.refreshed = f"2026-03-02T10:{version // 60 % 60:02}:{version % 60:02}.000Z"
        at = data.header.index("declarationTitle")
        data.rows = [[*row[:at], f"FLOOD {version}", *row[at + 1 :]] for row in data.rows]

    def arm(self, at: int = 0, spoil: faults.Fault | None = None) -> None:
        """Count from now on, and put the fault into the `at`-th response (0: none)."""
        self.count, self.at, self.spoil = 0, at, spoil

    def _counted(self, answers):
        def handler(request) -> Answer:
            answer = answers(request) if callable(answers) else answers[0]
            self.count += 1
            return self.spoil(answer) if self.spoil and self.count == self.at else answer

        return handler


class Scene:
    """Everything that a step needs, and that the checker must know."""

    def __init__(self, clone: Clone, server_url: str, database: str, folder: Path, known: Twelve):
        self.clone, self.root, self.data = clone, clone.folder, clone.folder / "data"
        self.url = server_url.replace("/dev?", f"/{database}?")
        self.prod_url = server_url.replace("/dev?", f"/{database}_prod?")
        self.publishers = Publishers(known)
        socket = Path(unquote(parse_qs(urlsplit(self.url).query)["host"][0]))
        port = parse_qs(urlsplit(self.url).query)["port"][0]
        self.proxy = Proxy(socket / f".s.PGSQL.{port}")
        self.page = Page(folder / "page", self.root)
        self.saved = folder / "saved"
        self.turns, self.versions = 0, {}  # the legible versions that are saved
        self.files: dict[str, tuple[int, str]] = {}  # rows and hash of files, by fingerprint
        self.outputs: list[str] = []
        self.environment = clone.environment | SECRETS | {
            "STASH": "git",
            "MIRRORS": known.mirrors,
            "FETCH_PATIENCE": "0",
            "PUBLISH_PATIENCE": "20",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "STAGES": "api preprocess load transform",
            "DATABASE_URL": self._through_the_proxy(database),
            "PROD_DATABASE_URL": self._through_the_proxy(f"{database}_prod"),
        }  # fmt: skip
        self.zygote = Zygote(self.root, self.environment, compile_library(folder), self.page)
        self.connection = invariants.connect(self.url)
        self.prod = invariants.connect(self.prod_url)
        self.readers = Readers(self.url)
        self.readers_of_prod = Readers(self.prod_url)

    def _through_the_proxy(self, database: str) -> str:
        place = f"127.0.0.1:{self.proxy.port}/{database}"
        return f"postgresql://postgres:{PASSWORD}@{place}?sslmode=disable&gssencmode=disable"

    def run(self, *words: str, are_calls_counted: bool = False) -> Done:
        """Run a script or module of the clone; its output is kept for the checker.

        are_calls_counted: also in the processes that it starts, which then import everything again.
        """
        is_warm = self.clone.warmth and not are_calls_counted
        environment = self.clone.warmth | {"LD_PRELOAD": ""} if is_warm else {}
        first = str(self.root / words[0]) if words[0].endswith(".py") else words[0]
        done = self.zygote.run([first, *words[1:]], environment)
        self.outputs.append(done.output)
        return done

    def run_without_fault(self, *words: str, codes: tuple[int, ...] = (0,), **how: bool) -> Done:
        """Run a step without a fault, and check its exit code."""
        done = self.run(*words, **how)
        assert done.code in codes, f"{words} ended with {done.code}: {done.output[-1500:]}"
        return done

    def night(self) -> Done:
        """A night of all stages without a fault."""
        return self.run_without_fault("pipeline.__main__", "night")

    def save(self, name: str) -> None:
        """Save the state of the disk, to `rewind` to it."""
        self.record_files()
        for folder in SAVED:
            if (self.data / folder).exists():
                shutil.copytree(self.data / folder, self.saved / name / folder)

    def rewind(self, name: str) -> None:
        """Restore a saved state of the disk."""
        for folder in SAVED:
            shutil.rmtree(self.data / folder, ignore_errors=True)
            if (self.saved / name / folder).exists():
                shutil.copytree(self.saved / name / folder, self.data / folder)

    def record_files(self) -> None:
        """Record the table that each complete legible file must become, by copying it elsewhere."""
        for source in SOURCES:
            path = self.data / "preprocessed" / f"{source}.csv"
            try:
                noted = json.loads((self.data / "state" / f"{source}.json").read_bytes())
                content = path.read_bytes()
            except (OSError, ValueError):
                continue
            sha256 = hashlib.sha256(content).hexdigest()
            columns = noted.get("preprocess", {}).get("columns")
            fingerprint = self._fingerprint(source, sha256)
            if fingerprint not in self.files and columns:
                self.files[fingerprint] = self._loaded(source, content)

    def _fingerprint(self, source: str, sha256: str) -> str:
        """The fingerprint of a load: the file and the declaration without its comments."""
        from pipeline.schema import declaration

        declared = declaration.without_comments((self.root / "load" / f"{source}.sql").read_text())
        return hashlib.sha256(f"{sha256} {declared}".encode()).hexdigest()

    def _loaded(self, source: str, content: bytes) -> tuple[int, str]:
        """Rows and hash of a temporary table that a file is copied into."""
        connection = self.connection
        with connection.transaction(force_rollback=True):
            ddl = (self.root / "load" / f"{source}.sql").read_text()
            create = ddl[ddl.index("create table") : ddl.index(";") + 1]
            connection.execute("create schema beside")
            connection.execute(create.replace("source.", "beside.", 1))
            with connection.cursor().copy(
                f"copy beside.{source} from stdin (format csv, header match)"
            ) as copy:
                copy.write(content)
            return invariants.contents(connection, "beside", source)

    def stop(self) -> None:
        """End everything that was started."""
        self.zygote.stop()
        self.proxy.stop()
        self.connection.close()
        self.prod.close()


@contextmanager
def scene(clone: Clone, server_url: str, database: str, folder: Path) -> Iterator[Scene]:
    """A scene after a first night without a fault, as long as the context lasts."""
    shrink(clone, SOURCES, MODELS)
    with twelve() as known:
        made = Scene(clone, server_url, database, folder, known)
        try:
            made.publishers.tell(1)
            made.night()
            made.run_without_fault("pipeline.stages.publish")
            made.record_files()
            yield made
        finally:
            made.readers.stop()
            made.readers_of_prod.stop()
            made.stop()
