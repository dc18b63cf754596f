"""A small Redivis on 127.0.0.1: the endpoints that the ``irw`` client needs to list, describe and read tables.

It answers as the service does (JSON descriptions, rows as an Arrow stream, errors with code and description), for two
releases of the Item Response Warehouse, and can be told to fail: with a status, slowly, cut off, or not at all.
"""

from __future__ import annotations

import io
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pandas as pd
import pyarrow as pa

TOKEN = "token-of-the-tests"
RELEASES = {331: "v4.0", 332: "v5.0"}
"""IRW version -> the tag that every data set had in it; the newest is the current release."""

ERRORS = {
    400: ("invalid_request", "The request is not valid"),
    401: ("invalid_token", "The access token is not valid"),
    403: ("insufficient_access", "Your account may not read this"),
    404: ("not_found", "Table not found"),
    429: ("rate_limit_exceeded", "Too many requests"),
    500: ("internal", "Something broke"),
}


@dataclass
class Fault:
    """What happens to requests whose ``METHOD /path`` matches: ``after`` so many, for ``times`` (None: always)."""

    pattern: str
    action: str | int
    times: int | None = None
    after: int = 0
    description: str | None = None


@dataclass
class RedivisServer:
    """Serve IRW tables; a context manager.

    Attributes
    ----------
    releases : IRW version -> {table name: frame} of the oldest warehouse; the other warehouses are there and empty.
    bibtex : table name -> BibTeX entry.
    faults : what goes wrong, first match wins.
    requests : every ``METHOD /path`` answered so far.
    """

    releases: dict[int, dict[str, pd.DataFrame]]
    bibtex: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        released = threading.Event()
        server = self

        class Handler(_Handler):
            redivis = server
            over = released

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._over = released
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._http.shutdown()
        self._http.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def fail(self, pattern: str, action: str | int, **more: object) -> None:
        """Let matching requests meet a status, or "slow", "cut" (mid-stream), "drop" (no answer), "hang" (till the end)."""
        self.faults.append(Fault(pattern, action, **more))

    def count(self, pattern: str) -> int:
        """How many requests so far match."""
        return sum(bool(re.search(pattern, request)) for request in self.requests)

    def fault_for(self, request: str) -> Fault | None:
        for fault in self.faults:
            if not re.search(fault.pattern, request):
                continue
            if fault.after:
                fault.after -= 1
            elif fault.times is None:
                return fault
            elif fault.times:
                fault.times -= 1
                return fault
        return None

    def tables(self, dataset: str, tag: str) -> dict[str, pd.DataFrame]:
        """The tables of a data set in one release."""
        number = next(n for n, t in RELEASES.items() if t == tag)
        responses = self.releases.get(number, {})
        if dataset == "item_response_warehouse":
            return responses
        if dataset == "irw_meta":
            return self._metadata(responses)
        return {}

    def _metadata(self, responses: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        names = list(responses)
        described = [
            {
                "table": name,
                "n_responses": float(len(frame)),
                "n_participants": float(frame["id"].nunique()),
                "n_items": float(frame["item"].nunique()),
                "density": len(frame) / (frame["id"].nunique() * frame["item"].nunique()),
                "variables": "| ".join(frame.columns),
                "longitudinal": "wave" in frame.columns,
            }
            for name, frame in responses.items()
        ]
        return {
            "metadata": pd.DataFrame(described),
            "tags": pd.DataFrame({"table": names, "construct_type": ["Cognitive/educational"] * len(names)}),
            "biblio": pd.DataFrame({"table": names, "BibTex": [self.bibtex.get(name) for name in names]}),
            "collections": pd.DataFrame({"collection": ["rct"], "kind": ["design"], "n_tables": [str(len(names))]}),
            "collection_members": pd.DataFrame({"table": names, "collection": ["rct"] * len(names)}),
        }

    def manifest(self, datasets: list[str]) -> str:
        """The table of IRW versions that the client reads to pin one."""
        rows = [
            "irw_version\tirw_released_at\tdataset\tredivis_tag\tredivis_released_at\tprecision\tredivis_released_before"
        ]
        for number, tag in RELEASES.items():
            day = f"2026-0{number - 329}-01T00:00:00Z"
            rows += [f"{number}\t{day}\t{dataset}\t{tag}\t{day}\texact\t" for dataset in datasets]
        return "\n".join(rows) + "\n"


class _Handler(BaseHTTPRequestHandler):
    redivis: RedivisServer
    over: threading.Event

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        request = f"{self.command} {unquote(url.path)}"
        self.redivis.requests.append(request)
        fault = self.redivis.fault_for(request)
        action = fault.action if fault else None
        if action == "hang":
            self.over.wait(60)
        if action in ("hang", "drop"):
            self.close_connection = True
            return
        if isinstance(action, int):
            self._error(action, fault.description)
            return
        if request.endswith("version_manifest.tsv"):
            from irw import config

            refs = [*config.MAIN_REFS, config.META_REF, config.SIM_REF, config.COMP_REF, config.NOM_REF]
            refs += [*config.CONJ_REFS, *config.RANK_REFS, *config.ITEMTEXT_REFS]
            self._send(self.redivis.manifest([ref.split(":")[0] for _, ref in refs]).encode(), "text/plain", action)
            return
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._error(401)
            return
        body = self._resource(url.path.split("/")[1:], query)
        if body is None:
            self._error(404)
        elif isinstance(body, bytes):
            self._send(body, "application/vnd.apache.arrow.stream", action)
        else:
            self._send(json.dumps(body).encode(), "application/json", action)

    def _resource(self, parts: list[str], query: dict[str, str]) -> dict | bytes | None:
        kind, reference, *rest = [unquote(part) for part in parts]
        match = re.fullmatch(r"datapages\.([a-z0-9_]+):([a-z0-9]{4})(?::(v\d+[._]\d+))?(?:\.(.+))?", reference)
        if not match:
            return None
        dataset, ref_id, tag, table = match.groups()
        tag = (tag or "").replace("_", ".")
        if tag not in RELEASES.values():  # Redivis gives the current release for a version it does not know
            tag = list(RELEASES.values())[-1]
        scoped = f"{dataset}:{ref_id}:{tag.replace('.', '_')}"
        tables = self.redivis.tables(dataset, tag)
        if kind == "datasets" and not rest:
            return {**_names(dataset, scoped, "datasets", f"datapages.{scoped}"), "version": {"tag": tag}}
        if kind == "datasets" and rest == ["tables"]:
            return _page([_table(scoped, name, frame) for name, frame in tables.items()])
        name = next((name for name in tables if kind == "tables" and table and name.lower() == table.lower()), None)
        if name is None:
            return None
        frame = tables[name]
        if not rest:
            return _table(scoped, name, frame)
        if rest == ["variables"]:
            return _page([{"name": column, "type": _type(frame[column])} for column in frame.columns])
        if rest == ["rows"]:
            return _stream(frame.head(int(query["maxResults"])) if "maxResults" in query else frame)
        return None

    def _error(self, status: int, description: str | None = None) -> None:
        error, usual = ERRORS[status]
        body = {"status": status, "error": error, "error_description": description or usual}
        self._send(json.dumps(body).encode(), "application/json", status=status)

    def _send(self, body: bytes, content_type: str, action: str | None = None, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        if action == "cut":  # no length, so that only the stream itself can tell that it is not whole
            body = body[: len(body) // 2]
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        pieces = 5 if action == "slow" else 1
        size = -(-len(body) // pieces) or 1
        for start in range(0, len(body), size):
            self.wfile.write(body[start : start + size])
            self.wfile.flush()
            if action == "slow":
                time.sleep(0.1)


def _names(name: str, scoped: str, kind: str, qualified: str) -> dict:
    return {
        "name": name,
        "scopedReference": scoped,
        "qualifiedReference": qualified,
        "uri": f"/{kind}/{quote(qualified, '')}",
    }


def _table(scoped_dataset: str, name: str, frame: pd.DataFrame) -> dict:
    return {
        **_names(name, name, "tables", f"datapages.{scoped_dataset}.{name}"),
        "container": {"kind": "dataset"},
        "numRows": len(frame),
        "numBytes": int(frame.memory_usage().sum()),
        "hash": f"{frame.attrs.setdefault('hash', int(pd.util.hash_pandas_object(frame).sum())):x}",
    }


def _page(results: list[dict]) -> dict:
    return {"results": results, "nextPageToken": None}


def _type(column: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(column):
        return "boolean"
    if pd.api.types.is_integer_dtype(column):
        return "integer"
    return "float" if pd.api.types.is_float_dtype(column) else "string"


def _stream(frame: pd.DataFrame) -> bytes:
    kinds = {"boolean": pa.bool_(), "integer": pa.int64(), "float": pa.float64(), "string": pa.string()}
    schema = pa.schema([(name, kinds[_type(frame[name])]) for name in frame.columns])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in pa.Table.from_pandas(frame, schema, preserve_index=False).to_batches(max_chunksize=1000):
            writer.write_batch(batch)
    return sink.getvalue()
