from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from support.postgres_server import NO_POSTGRES, PostgresServer, find_postgres
from support.sink_rows import failed_row, row

from clip_worker.errors import InvalidRequestError, ServiceError
from clip_worker.sinks.open import open_sink
from clip_worker.sinks.row import Row
from clip_worker.sinks.sql import SqlSink

TABLE = "clip_results"
KilledRuns = Callable[..., int]


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    programs = find_postgres()
    if programs is None:
        pytest.skip(NO_POSTGRES)
    with PostgresServer(programs) as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    with psycopg.connect(postgres.url) as connection:
        connection.execute("drop schema public cascade")
        connection.execute("create schema public")
    return postgres.url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/results.db"


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def store(url: str, rows: list[Row], table: str = TABLE) -> None:
    sink = SqlSink(url, table)
    try:
        sink.open(None)
        sink.commit()
        sink.write(rows)
        sink.commit()
    finally:
        sink.close()


def execute(url: str, statement: str) -> list[dict[str, Any]]:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        with engine.begin() as connection:
            result = connection.execute(sa.text(statement))
            return [dict(each) for each in result.mappings()] if result.returns_rows else []
    finally:
        engine.dispose()


def read(url: str, table: str = TABLE) -> list[dict[str, Any]]:
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        reflected = sa.Table(table, sa.MetaData(), autoload_with=engine)
        with engine.connect() as connection:
            found = connection.execute(sa.select(reflected).order_by(reflected.c.key))
            return [dict(each) for each in found.mappings()]
    finally:
        engine.dispose()


def test_a_row_has_columns_and_json(url: str) -> None:
    store(url, [row(1, none_of_these=0.1), failed_row(2)])

    good, bad = read(url)
    assert (good["label"], good["probability"], good["none_of_these"]) == ("cat", 0.75, 0.1)
    assert good["predictions"][1] == {"label": "dog", "probability": 0.25, "index": 1}
    assert good["fields"] == {"number": 1}
    assert good["ended_at"].replace(tzinfo=UTC) == datetime(2025, 11, 27, 17, 12, 12, 250_000, UTC)
    assert (bad["status"], bad["error_code"], bad["predictions"]) == ("error", "FETCH_404", None)


def test_a_row_that_is_written_again_replaces_the_first(url: str) -> None:
    store(url, [row(1, label="cat"), row(1, label="bird"), row(2)])
    store(url, [row(1, label="horse")])

    assert [each["label"] for each in read(url)] == ["horse", "cat"]


def test_another_table_is_made(url: str) -> None:
    store(url, [row(1)], table="Select")
    assert [each["label"] for each in read(url, "Select")] == ["cat"]


def test_hostile_texts_are_stored_as_they_are(url: str) -> None:
    label = "'); drop table clip_results; --%s :x \\ \0 \N{CAT FACE}"
    store(url, [row(1, label=label, fields={"a'\0": "\0"})])

    (stored,) = read(url)
    assert stored["label"] == label.replace("\0", "\ufffd")
    assert stored["fields"] == {"a'\ufffd": "\ufffd"}


def test_a_key_that_no_index_takes_is_stored_as_its_digest(url: str) -> None:
    given = row(1)
    item = type(given.item)(key="data:," + "ü" * 9000, image="data:,")
    store(url, [Row(item, given.outcome, given.ended_at)])
    assert read(url)[0]["key"].startswith("sha256:")


def test_the_table_of_another_program_is_left_alone(url: str) -> None:
    execute(url, f"create table {TABLE} (key text primary key, owner text)")
    with pytest.raises(ServiceError, match=f"{TABLE} has no column image.*--table") as caught:
        store(url, [row(1)])
    assert caught.value.code == "SINK_FAILED"
    assert read(url) == []


def test_a_table_that_allows_a_key_twice_is_left_alone(url: str) -> None:
    store(url, [])
    execute(url, f"create table mine as select * from {TABLE}")
    with pytest.raises(ServiceError, match="mine allows a key several times"):
        store(url, [row(1)], table="mine")


def test_more_columns_and_a_unique_index_are_welcome(url: str) -> None:
    store(url, [])
    execute(url, f"create table mine as select *, 1 as seen from {TABLE}")
    execute(url, "create unique index mine_key on mine (key)")
    store(url, [row(1), row(1, label="bird")], table="mine")
    assert execute(url, "select label, seen from mine") == [{"label": "bird", "seen": None}]


def test_a_column_of_another_type_is_one_sentence_without_the_rows_values(
    postgres_url: str,
) -> None:
    store(postgres_url, [])
    execute(postgres_url, f"alter table {TABLE} alter column label type integer using 0")
    with pytest.raises(ServiceError, match=r'the database says .*column "label"') as caught:
        store(postgres_url, [row(1)])
    assert "photo" not in caught.value.message


def test_a_transaction_is_repeated_when_the_server_comes_back(
    postgres: PostgresServer, postgres_url: str
) -> None:
    paused: list[float] = []

    def come_back(pause_s: float) -> None:
        paused.append(pause_s)
        if len(paused) == 3:
            postgres.start()

    sink = SqlSink(postgres_url, TABLE, sleep=come_back)
    sink.open(None)
    sink.write([row(1)])
    sink.commit()
    postgres.stop()
    sink.write([row(2)])
    sink.commit()
    sink.close()

    assert paused == [1.0, 2.0, 4.0]
    assert len(read(postgres_url)) == 2


def test_a_server_that_is_away_is_one_sentence_without_the_password() -> None:
    sink = SqlSink("postgresql://me:hidden@127.0.0.1:1/db?password=hidden", TABLE)
    with pytest.raises(ServiceError, match="check the URL, the server") as caught:
        sink.open(None)
    assert "hidden" not in caught.value.message
    sink.close()


def test_a_user_without_rights_is_told_so(postgres_url: str) -> None:
    store(postgres_url, [])
    execute(postgres_url, "drop role if exists reader")
    execute(postgres_url, "create role reader login")
    execute(postgres_url, "grant usage on schema public to reader")
    with pytest.raises(ServiceError, match=f"permission denied for table {TABLE}"):
        store(postgres_url.replace("tester:secret", "reader"), [row(1)])


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "results.db"
    file.write_text("mine" * 1000)
    with pytest.raises(ServiceError, match="file is not a database"):
        store(f"sqlite:///{file}", [row(1)])
    assert file.read_text() == "mine" * 1000


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="unable to open database file"):
        store(f"sqlite:///{tmp_path}/a/results.db", [row(1)])


def test_rows_are_stored_before_they_are_many(sqlite_url: str) -> None:
    sink = SqlSink(sqlite_url, TABLE)
    sink.open(None)
    sink.write([row(number) for number in range(499)])
    assert read(sqlite_url) == []
    sink.write([row(499)])
    assert len(read(sqlite_url)) == 500
    sink.close()


@pytest.mark.parametrize(
    "url", ["mysql://me:hidden@host/db", "sqlite://", "sqlite:///:memory:", "sqlite:file.db"]
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="write sqlite:///results") as caught:
        SqlSink(url, TABLE)
    assert "hidden" not in caught.value.message


@pytest.mark.parametrize("table", ["", "a-b", 'a"b', "a.b.c", "a;b", "x" * 64, "grün"])
def test_a_table_of_other_characters_is_refused(table: str) -> None:
    with pytest.raises(InvalidRequestError, match="letters, digits and underscores"):
        open_sink("sqlite:///results.db", table=table)


def test_a_schema_may_be_named(postgres_url: str) -> None:
    execute(postgres_url, "drop schema if exists tags cascade")
    execute(postgres_url, "create schema tags")
    store(postgres_url, [row(1)], table="tags.clip_results")
    assert execute(postgres_url, "select label from tags.clip_results") == [{"label": "cat"}]


@pytest.mark.slow
def test_each_row_is_there_once_after_fifty_kills(url: str, killed_runs: KilledRuns) -> None:
    libraries = ["sqlalchemy.dialects.postgresql", "sqlalchemy.dialects.sqlite", "psycopg"]
    total = killed_runs(url, most_calls=120_000, longest_s=0.5, preload=libraries)
    assert [each["fields"]["number"] for each in read(url)] == list(range(total))
    assert total > 100
