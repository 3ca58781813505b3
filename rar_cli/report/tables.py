"""Tables on the terminal: pictures, weights, sizes, benchmarks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rar_cli.report.text import printable
from rar_cli.report.words import EVERYTHING, Choice, band, describe, outcome

Record = Mapping[str, Any]

BENCH_COLUMNS = ("n", "input dB", "round 1 dB", "final dB", "gain dB", "SSIM in", "SSIM out", "rounds", "harmed")

NAME_SHARE = 0.34
"""Of the width of a terminal, at most, for the names of pictures."""


def table(records: Sequence[Record], console: Console, choice: Choice = EVERYTHING) -> None:
    """One row per picture: degradations, score, result. A folder that all share is printed once."""
    names = [str(record["input"]) for record in records]
    folder = common_folder(names)
    if folder:
        console.print(Text(f"in {printable(folder)}", style="dim"), soft_wrap=True)
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("picture", no_wrap=True)
    grid.add_column("found", overflow="fold")
    grid.add_column("score", no_wrap=True)
    grid.add_column("result", overflow="fold")
    width = max(int(console.width * NAME_SHARE), 12)
    for name, record in zip(names, records, strict=True):
        style = "red" if record["status"] == "failed" else None
        short = shortened(printable(name.removeprefix(folder)), width)
        grid.add_row(*map(Text, (short, *_row(record, choice))), style=style)
    console.print(grid)


def common_folder(names: Sequence[str]) -> str:
    """The folder, with its last separator, that several paths share; "" where there is none or one path."""
    if len(names) < 2:
        return ""
    shared = os.path.commonprefix([os.path.split(name)[0] + os.sep for name in names if os.path.split(name)[0]])
    if not all(name.startswith(shared) for name in names):
        return ""
    return shared[: shared.rfind(os.sep) + 1]


def shortened(name: str, width: int) -> str:
    """A path cut from the left, where its end would not fit into `width` characters."""
    return name if len(name) <= width else "\u2026" + name[len(name) - width + 1 :]


def _row(record: Record, choice: Choice) -> tuple[str, str, str]:
    """The degradations, the score before and after, the result."""
    result = printable(outcome(record, choice))
    if record["status"] in {"failed", "skipped"}:
        return "", "", result
    found = describe(record["rounds"][0]["degradations"])
    before, after = record["score_before"], record["score_after"]
    if record["best_round"] == 0:
        return found, f"{band(before)} {before:.0f}", result
    return found, f"{band(before)} {before:.0f} -> {band(after)} {after:.0f}", result


def holdings_table(rows: Sequence[Record], console: Console) -> None:
    """Weights: name, size, whether they are here, licence."""
    cells = [
        (r["name"], f"{r['megabytes']} MB", "here" if r["here"] else "not here", f"{r['about']}; {r['licence']}")
        for r in rows
    ]
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for name, side in (("weights", "left"), ("size", "right"), ("", "left"), ("what, licence", "left")):
        grid.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type]
    for row in cells:
        grid.add_row(*(Text(printable(cell)) for cell in row))
    console.print(grid)


def sizes_table(rows: Sequence[tuple[str, int, int, float, float]], console: Console) -> None:
    """Parts of a model: parameters, those that are trained, memory, FLOPs of a 1024x1024 picture's round."""
    cells = [
        (name, f"{count / 1e6:,.1f} M", f"{trained / 1e6:,.1f} M", f"{gib:.2f} GiB", f"{gflops:,.0f} GFLOP")
        for name, count, trained, gib, gflops in rows
    ]
    _print_grid(("part", "parameters", "trained", "weights", "round at 1 MP"), cells, console)


def bench_table(result: Record, console: Console) -> None:
    """One row per suite: PSNR and SSIM of input, round 1 and final picture; then the peers' PSNR."""
    rows = []
    for suite in result["suites"]:
        first, once, last = (suite[stage] for stage in ("input", "round_1", "final"))
        gain = None if last["psnr_db"] is None else last["psnr_db"] - first["psnr_db"]
        figures = (
            _figure(first["psnr_db"]), _figure(once["psnr_db"]), _figure(last["psnr_db"]), _figure(gain, "+.2f"),
            _figure(first["ssim"], ".3f"), _figure(last["ssim"], ".3f"), _figure(suite["mean_rounds"], ".1f"),
            _figure(suite["harmed_share"], ".0%"),
        )  # fmt: skip
        rows.append((suite["suite"], f"{suite['done']}/{suite['expected']}", *figures))
    _print_grid(("suite", *BENCH_COLUMNS), rows, console)
    found = result["assessor"]
    judged = {
        "mean average precision": found["mean_average_precision"],
        "SRCC of score and PSNR": found["srcc"],
        **{f"of {name.upper()} and PSNR": beside[name] for name, beside in found["srcc_beside"].items()},
        "score follows changes above 1 dB": found["direction_agreement"],
    }
    listed = "; ".join(f"{name} {value:.2f}" for name, value in judged.items() if value is not None)
    if listed:
        console.print(f"\nassessor: {listed}", highlight=False)
    if result["cost"] is not None:
        about = result["cost"]
        stages = ", ".join(f"{name} {1e3 * seconds:.0f} ms" for name, seconds in about["stage_seconds"].items())
        console.print(
            f"cost: {result['megapixels_per_second'] or 0:.2f} MP/s; {about['width']}x{about['height']}: {stages}; "
            f"{about['flops_per_pixel'] / 1e3:.0f} kFLOP per pixel and round; "
            f"peak {_figure(about['peak_mib'], '.0f')} MiB; "
            f"a round of a disjoint loop takes {about['disjoint_over_closed']:.2f} times as long",
            highlight=False,
        )
    peers = list(result["suites"][0]["peers"]) if result["suites"] else []
    if peers:
        suites = result["suites"]
        table_rows = [("input", *(_figure(s["input"]["psnr_db"]) for s in suites))]
        table_rows += [(p, *(_figure(s["peers"][p]["psnr_db"]) for s in suites)) for p in peers]
        table_rows.append(("rar", *(_figure(s["final"]["psnr_db"]) for s in suites)))
        console.print()
        _print_grid(("PSNR dB", *(s["suite"] for s in suites)), table_rows, console)


def _print_grid(columns: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    """First column to the left and never cut, figures to the right."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(columns):
        grid.add_column(Text(printable(name)), justify="right" if i else "left", overflow="fold", no_wrap=i == 0)
    for row in rows:
        grid.add_row(*(Text(printable(cell)) for cell in row))
    console.print(grid)


def bench_digest(result: Record) -> dict[str, Any]:
    """The compact last line: per suite the input's and the final PSNR, and how fast it went."""
    return {
        "complete": result["complete"],
        "weights_sha256": result["weights_sha256"],
        "megapixels_per_second": result["megapixels_per_second"],
        "assessor": {k: v for k, v in result["assessor"].items() if k != "average_precision"},
        "psnr_db": {s["suite"]: [s["input"]["psnr_db"], s["final"]["psnr_db"]] for s in result["suites"]},
    }


def _figure(value: float | None, form: str = ".2f") -> str:
    return "gap" if value is None else format(value, form)
