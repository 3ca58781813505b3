"""Plots of a benchmark's JSON document: quality against rounds and time, bars per degradation."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rar_cli.errors import UsageError

KINDS = ("png", "svg")


def require() -> None:
    """Raise UsageError where matplotlib is missing; called before a long run."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError('--plots needs matplotlib: pip install "rar-cli[bench]"')


def plot(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw rounds, time and bars into a folder, as PNG and SVG. Returns the files."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "rar"  # the same figures make the same file
    folder.mkdir(parents=True, exist_ok=True)
    suites = [s for s in result["suites"] if s["final"]["psnr_db"] is not None and s["suite"] != "clean"]
    drawings = {"rounds": _rounds, "bars": _bars}
    if result["cost"] is not None:
        drawings["time"] = _time
    written = []
    for name, draw in drawings.items():
        figure = Figure(figsize=(max(7.0, 0.6 * len(suites) + 3.0), 4.5), layout="constrained")
        draw(figure.add_subplot(), suites, result)
        for kind in KINDS:
            path = folder / f"{name}.{kind}"
            figure.savefig(path, metadata={"Date": None} if kind == "svg" else None, dpi=150)
            written.append(path)
    return written


def _rounds(axes: Any, suites: list[Mapping[str, Any]], result: Mapping[str, Any]) -> None:
    for suite in suites:
        course = suite["psnr_db_by_round"]
        axes.plot(range(len(course)), course, marker="o", markersize=3, label=suite["suite"])
    axes.set(xlabel="rounds", ylabel="mean PSNR, dB", title="quality against rounds")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.figure.legend(loc="outside right upper", fontsize=7)


def _time(axes: Any, suites: list[Mapping[str, Any]], result: Mapping[str, Any]) -> None:
    stages = result["cost"]["stage_seconds"]
    per_round = stages["assess"] + stages["transport"]
    around = stages["encode"] + stages["assess"] + stages["decode"]
    for suite in suites:
        course = suite["psnr_db_by_round"]
        seconds = [around + k * per_round for k in range(len(course))]
        axes.plot(seconds, course, marker="o", markersize=3, label=suite["suite"])
    about = result["cost"]
    axes.set(xlabel=f"seconds for {about['width']}x{about['height']}", ylabel="mean PSNR, dB")
    axes.set_title("quality against time")
    axes.figure.legend(loc="outside right upper", fontsize=7)


def _bars(axes: Any, suites: list[Mapping[str, Any]], result: Mapping[str, Any]) -> None:
    names = [s["suite"] for s in suites]
    series = {"input": [s["input"]["psnr_db"] for s in suites]}
    for peer in suites[0]["peers"] if suites else ():
        series[peer] = [s["peers"][peer]["psnr_db"] for s in suites]
    series["rar"] = [s["final"]["psnr_db"] for s in suites]
    width = 0.8 / len(series)
    for i, (name, values) in enumerate(series.items()):
        axes.bar([x + i * width for x in range(len(names))], values, width, label=name)
    axes.set_xticks([x + 0.4 - width / 2 for x in range(len(names))], names, rotation=40, ha="right", fontsize=8)
    axes.set(ylabel="mean PSNR, dB", title="per degradation")
    axes.legend(fontsize=7)
