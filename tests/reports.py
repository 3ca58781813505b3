"""Records and pages for the tests of the report."""

import numpy as np

from rar_cli.report.gallery import Gallery
from rar_cli.types import DEGRADATIONS

NASTY = "<img src=x onerror=alert(1)>\"'&</script></noscript>{{ 7*7 }} grün \n " + "x" * 300 + ".png"


def record(name="a.png", status="restored", before=30.0, after=70.0, worst="noise"):
    found = {d.value: 0.8 if d.value == worst else 0.05 for d in DEGRADATIONS}
    left = {d.value: 0.05 for d in DEGRADATIONS}
    rounds = [
        {"round": i, "score": s, "verdict": "repeat", "reason": "why <b>not</b>", "degradations": severities}
        for i, (s, severities) in enumerate(((before, found), (after, left)))
    ]
    return {
        "input": name, "output": None, "status": status, "stop": "accept",
        "best_round": 0 if status == "accepted" else 1, "score_before": before,
        "score_after": after, "width": 60, "height": 40, "rounds": rounds, "error": None,
    }  # fmt: skip


def noise(seed, side=(40, 60)):
    return np.random.default_rng(seed).integers(0, 256, (*side, 3), dtype=np.uint8)


def page(tmp_path, count=40):
    """A page of `count` pictures, one with a nasty name, and one that failed."""
    gallery = Gallery("a <title> & more", count + 2)
    for i in range(count):
        worst = ("noise", "rain", "haze")[i % 3]
        status = "accepted" if i % 5 == 1 else "restored"
        after = noise(i) if status == "accepted" else noise(i + 1)
        gallery.add(record(f"p{i:03d}.png", status, 30 + i % 7, 60 + i % 11, worst), noise(i), after)
    gallery.add(record(NASTY, before=1.0), noise(1), noise(2), [noise(3)], {"psnr_db": 30.0})
    gallery.add_other({**record("bad.png", "failed"), "error": "bad.png: damaged <script>"})
    gallery.write(tmp_path / "r.html", 3.0, 1.0)
    return tmp_path / "r.html"
