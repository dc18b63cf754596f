"""Addresses: given to the engine unchanged, read from a server that speaks S3, and what is said where nothing can be read."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress

import pandas as pd
import pytest
from test_large import draw
from test_size import same_bits, two_workers
from typer.testing import CliRunner

from ilhte_lib import EngineError, InputError
from ilhte_lib.data.large import large_trial
from ilhte_lib.data.relations import DuckDB
from ilhte_report.cli import app

pytest.importorskip("duckdb", reason="DuckDB is not installed")
fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """600 persons, a fifth of the responses missing."""
    return draw(n_persons=600, n_items=8, missing=0.2)


def test_an_address_is_passed_on_untouched(table, tmp_path):
    path = tmp_path / "t.parquet"
    table.to_parquet(path, index=False)
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/bucket/trial.parquet", path.read_bytes())
    table.to_parquet(tmp_path / "parts", partition_cols=["treat"], index=False)
    memory.put(str(tmp_path / "parts"), "/bucket/parts", recursive=True)
    whole = large_trial(path)
    for address in ("memory://bucket/trial.parquet", "memory://bucket/parts"):
        found = large_trial(address)
        same_bits(found.with_covariate, whole.with_covariate)
    done = CliRunner().invoke(app, ["check", "memory://bucket/parts"])
    assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def bucket(table, tmp_path_factory) -> Iterator[str]:
    """The bucket ``trials`` on an S3 server of this machine: ``whole.parquet`` and the folder ``parts``, partitioned by arm."""
    pytest.importorskip("moto", reason="moto, an S3 server, is not installed")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {
                "AWS_ENDPOINT_URL": address,
                "AWS_ACCESS_KEY_ID": "key",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_DEFAULT_REGION": "us-east-1",
            }.items():
                patch.setenv(name, value)
            for _ in range(600):
                with suppress(OSError):
                    urllib.request.urlopen(address, timeout=5).close()
                    break
                assert server.poll() is None, "the S3 server has ended"
                time.sleep(0.1)
            folder = tmp_path_factory.mktemp("table")
            table.to_parquet(folder / "whole.parquet", index=False)
            table.to_parquet(folder / "parts", partition_cols=["treat"], index=False)
            there = s3fs.S3FileSystem(skip_instance_cache=True)
            there.mkdir("trials")
            there.put(str(folder / "whole.parquet"), "trials/whole.parquet")
            there.put(str(folder / "parts"), "trials/parts", recursive=True)
            # what an interrupted writer leaves is no part of the table
            there.put(str(folder / "whole.parquet"), "trials/parts/_temporary/0/whole.parquet")
            there.put(str(folder / "whole.parquet"), "trials/parts/.whole.parquet")
            yield str(folder / "whole.parquet")
    finally:
        server.terminate()
        server.wait(20)


@pytest.mark.parametrize("address", ["s3://trials/whole.parquet", "s3://trials/parts"])
def test_a_bucket_has_the_statistics_of_its_file(address, bucket):
    """Read by DuckDB through s3fs, and by two workers of Dask through PyArrow's own S3."""
    here, there = large_trial(bucket), large_trial(address)
    same_bits(here.with_covariate, there.with_covariate)
    with two_workers() as relations:
        same_bits(here.with_covariate, large_trial(address, relations=relations).with_covariate)


def test_the_command_reads_a_bucket(bucket):
    done = CliRunner().invoke(app, ["fit", "s3://trials/parts", "--quick"])
    assert done.exit_code == 0, done.output
    assert "600 persons" in done.output


@pytest.mark.parametrize("engine", ["duckdb", "dask"])
@pytest.mark.parametrize("address", ["s3://trials/nothing", "s3://trials/nothing.parquet", "s3://no-such-bucket/t"])
def test_nothing_at_an_address(engine, address, bucket):
    if engine == "dask":
        pytest.importorskip("distributed", reason="Dask is not installed (the extra `cluster`)")
    done = CliRunner().invoke(app, ["fit", address, "--engine-data", engine])
    assert isinstance(done.exception, InputError), done.output
    said = str(done.exception)
    assert said.startswith(f"{address!r} cannot be read (") and "check the address" in said and "Traceback" not in said


def test_an_address_of_nothing():
    done = CliRunner().invoke(app, ["fit", "s3://"])
    assert isinstance(done.exception, InputError) and "names no table" in str(done.exception)


def test_no_way_to_read_s3(monkeypatch, tmp_path):
    """Neither httpfs, which DuckDB would download where it can, nor s3fs."""

    def without_s3fs(address: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", without_s3fs)
    with DuckDB() as relations:
        relations._run(f"SET extension_directory = '{tmp_path}'")
        relations._run("SET autoinstall_known_extensions = false")
        with pytest.raises(
            EngineError, match="with its extension httpfs, which is not here: count with --engine-data dask"
        ):
            large_trial("s3://bucket/t.parquet", relations=relations)
