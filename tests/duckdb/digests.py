"""Reckons, with DuckDB, what the rows of an archive come to, and compares it with its manifests: digests.py FOLDER

Prints for each partition its rows and digest, as DuckDB has them; the last line is the same as JSON. Ends with 1 where a
manifest says anything else.
"""

import json
import pathlib
import sys

import duckdb

# The text of a value, by how its column is kept; src/table/archived_columns.rs says the same for PostgreSQL.
TEXT = {
    "text": '"{0}"',
    "text_of_value": '"{0}"',
    "int16": '"{0}"::VARCHAR',
    "int32": '"{0}"::VARCHAR',
    "int64": '"{0}"::VARCHAR',
    "boolean": '"{0}"::INTEGER::VARCHAR',
    "date": "date_diff('day', DATE '1970-01-01', \"{0}\")::VARCHAR",
    "timestamptz": 'epoch_us("{0}")::VARCHAR',
    "timestamp": 'epoch_us("{0}")::VARCHAR',
    "bytes": 'lower(hex("{0}"))',
}
TIME = {"user_logins": "message_sent_at", "processed_messages": "sent_at"}


def main(folder):
    archive = pathlib.Path(folder)
    current = {}
    for path in sorted((archive / "manifests").glob("*.json")):
        manifest = json.loads(path.read_text())["manifest"]
        current[manifest["table"], manifest["label"]] = manifest
    found, wrong = {}, []
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for (table, label), manifest in current.items():
            rows = reckoned(connection, archive, table, label, manifest["columns"])
            said = manifest["rows"]
            name = f"{table}/{label}"
            found[name] = (rows["count"], rows["digest"])
            same = rows == said
            print(f"{name}: {rows['count']} rows, digest {rows['digest']}: {'equal' if same else 'NOT EQUAL'}")
            if not same:
                wrong.append(f"{name}: the manifest says {said}, and DuckDB {rows}")
    if not found:
        wrong.append(f"there is no manifest in {archive}")
    print(json.dumps(found))
    if wrong:
        sys.exit("\n".join(wrong))


def reckoned(connection, archive, table, label, columns):
    texts = [TEXT[column["kept_as"]].format(column["name"].replace('"', '""')) for column in columns]
    row = " || ".join(f"coalesce(strlen({text})::VARCHAR || ':' || {text}, '-')" for text in texts)
    at = TIME[table]
    period = "day" if list((archive / table).glob("day=*")) else "month"
    count, first, last, digest = connection.execute(
        f"""SELECT count(*), epoch_us(min({at})), epoch_us(max({at})),
                   coalesce(sum(('0x' || left(md5({row}), 15))::BIGINT::HUGEINT), 0)::VARCHAR
            FROM read_parquet($files, hive_partitioning = true) WHERE {period}::VARCHAR = $label""",
        {"files": str(archive / table / f"{period}=*" / "*.parquet"), "label": label},
    ).fetchone()
    return {"count": count, "first": first, "last": last, "digest": digest}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
