"""A training config at toy width, and what its ledger says."""

import json

TOY = """
name = "toy"
workers = 0
checkpoint_minutes = {checkpoint}
[model.codec]
width = 8
[model.assessor]
stem = [8, 8, 8]
grid = 2
width = 16
layers = 1
heads = 2
condition_width = 8
free_tokens = 2
[model.restorer]
widths = [8, 8, 8]
blocks = [1, 1, 1]
condition_width = 8
modulation_width = 16
detail_blocks = 1
detail_width = 8
memory = true
[[stages]]
name = "assess"
kind = "assessor"
steps = {steps}
crops = [{{ pictures = 4, context_px = 32, window_px = 16 }}]
[[stages]]
name = "restore"
kind = "restorer"
steps = {steps}
crops = [{{ pictures = 4, context_px = 32, window_px = 16 }}]
teacher_forcing = [0.5, 0.0]
unrolled = 0.5
[[stages]]
name = "together"
kind = "end_to_end"
steps = {steps}
crops = [{{ pictures = 4, context_px = 32, window_px = 16 }}]
decay = 0.5
"""


def config_file(tmp_path, steps=6, checkpoint=0.0):
    path = tmp_path / "toy.toml"
    path.write_text(TOY.format(steps=steps, checkpoint=checkpoint))
    return path


def events(folder):
    return [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
