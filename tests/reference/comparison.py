"""What the scripts share that compare a fledge binary with transformers: bounds, a report, and running the binary."""

import subprocess

from safetensors.torch import load_file

LOGITS_BOUND, GRADIENT_BOUND = 1e-5, 1e-4
UNIT = 2.0 ** -24  # half a unit in the last place of an f32 near one


class Report:
    def __init__(self):
        self.failed = False

    def line(self, what, value, bound):
        passed = value <= bound  # False for a NaN
        self.failed |= not passed
        print(f"  {'ok  ' if passed else 'FAIL'} {what:58} {value:.2e}  (bound {bound:.1e})")


def relative_error(got, expected):
    if got.shape != expected.shape:
        raise SystemExit(f"shape {list(got.shape)} where {list(expected.shape)} was expected")
    got, expected = got.double(), expected.double()
    return ((got - expected).norm() / expected.norm()).item()


def run(binary, *arguments):
    done = subprocess.run([str(binary), *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{binary} {' '.join(map(str, arguments))[:200]}\nexit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def as_argument(rows):
    return ";".join(",".join(str(int(value)) for value in row) for row in rows)


def fledge_tensors(binary, folder, ids, out, *options):
    """What `fledge logits` writes."""
    run(binary, "logits", folder, "--ids", as_argument(ids), "--out", out, "--dtype", "f32", *options)
    return load_file(out)
