"""CSV files read back, with the standard library and with pandas, whatever they hold."""

from __future__ import annotations

import io

import pandas as pd

from selfsup.csv_files import QUOTING, csv_rows, csv_text, in_quotes

ODD = ["plain", "a\rb\r", 'a "quoted", name', "two\r\nlines\n", "=SUM(A1)", "naïve 雑草", "-1", " ", "NA"]


def test_odd_texts_come_back_as_they_were() -> None:
    text = csv_text(["name", "count"], [(name, number) for number, name in enumerate(ODD)])
    assert csv_rows(text.encode()) == [{"name": name, "count": str(number)} for number, name in enumerate(ODD)]
    table = pd.read_csv(io.StringIO(text, newline=""), keep_default_na=False)
    assert table.name.tolist() == ODD
    assert table["count"].tolist() == list(range(len(ODD)))


def test_a_text_in_quotes_is_what_the_writer_makes_of_it() -> None:
    assert csv_text(["name"], [(name,) for name in ODD]) == "".join(f"{in_quotes(name)}\n" for name in ["name", *ODD])


def test_tables_of_pandas_come_back_as_they_were() -> None:
    text = pd.DataFrame({"path": ODD, "probability": 0.5}).to_csv(index=False, quoting=QUOTING)
    assert [row["path"] for row in csv_rows(text.encode())] == ODD
    assert '"=SUM(A1)",0.5\n' in text
