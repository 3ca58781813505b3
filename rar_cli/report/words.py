"""Records -> what people read: sentences, the table on the terminal, the closing summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rar_cli.report.text import printable

if TYPE_CHECKING:
    from rar_cli.types import Round

Record = Mapping[str, Any]

WORDS = ((0.12, ""), (0.35, "slight"), (0.65, "moderate"), (1.01, "heavy"))
"""Severity up to ... is called ...; below the first it goes unmentioned."""


BENCH_COLUMNS = ("n", "input dB", "round 1 dB", "final dB", "gain dB", "SSIM in", "SSIM out", "rounds", "harmed")


UNTOUCHED = {
    "accept": "good as it is",
    "revert": "put back as it was",
    "exhausted": "no rounds allowed",
}
RESTORED = {
    "accept": "restored",
    "revert": "restored, last put back",
    "exhausted": "restored, all rounds used",
}
"""By the verdict that ended the loop, for pictures kept as they are and for those a round is kept of."""


def describe(severities: Mapping[str, float]) -> str:
    """Plain words for severities in [0, 1]: "heavy rain, slight noise", or "no degradation found"."""
    found = sorted(severities.items(), key=lambda pair: -pair[1])
    words = [f"{word_for(value)} {name.replace('_', ' ')}" for name, value in found if word_for(value)]
    return ", ".join(words) or "no degradation found"


def word_for(severity: float) -> str:
    """Severity in [0, 1] -> slight, moderate or heavy; "" where it is not worth a word."""
    return next(word for limit, word in WORDS if severity < limit)


def round_line(this: Round, bars: bool) -> str:
    """One round in one line: score, what was found, what follows."""
    bar = f" {'█' * round(this.score / 10):<10}" if bars else ""
    found = describe({d.value: s for d, s in this.severities.items()})
    return f"round {this.index}  score {this.score:5.1f}{bar}  {found}; {this.verdict.value}: {this.reason}"


def table(records: Sequence[Record], console: Console) -> None:
    """One row per picture: what was found, how far it got."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("picture", overflow="fold")
    grid.add_column("found", overflow="fold")
    for name in ("score", "rounds"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("result", overflow="fold")
    for record in records:
        grid.add_row(*map(Text, _row(record)))
    console.print(grid)


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
            f"{about['flops_per_pixel'] / 1e3:.0f} kFLOP per pixel and round; peak {about['peak_mib']:.0f} MiB; "
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
        grid.add_column(name, justify="right" if i else "left", overflow="fold", no_wrap=i == 0)
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


def _row(record: Record) -> tuple[str, str, str, str, str]:
    name = printable(str(record["input"]))
    if record["status"] in {"failed", "skipped"}:
        why = record["error"] or "done before"
        return name, "", "", "", f"{record['status']}: {printable(str(why).removeprefix(str(record['input']) + ': '))}"
    rounds = record["rounds"]
    found = describe(rounds[0]["degradations"])
    scores = f"{record['score_before']:.0f} -> {record['score_after']:.0f}"
    count = f"{record['best_round']}/{len(rounds) - 1}"
    return name, found, scores, count, outcome(record)


def outcome(record: Record) -> str:
    """How a picture's loop ended, in words: what is kept, and why no further round was made."""
    return (UNTOUCHED if record["best_round"] == 0 else RESTORED)[record["stop"]]


def summary_line(counts: Mapping[str, int], rounds: int, megapixels: float, seconds: float) -> str:
    """The closing line: counts by status, rounds, throughput."""
    parts = [f"{number} {status}" for status, number in counts.items() if number]
    pace = f"{megapixels:.1f} MP in {seconds:.1f} s ({megapixels / max(seconds, 1e-9):.2f} MP/s)"
    return f"{', '.join(parts) or 'nothing to do'}; {rounds} rounds; {pace}"
