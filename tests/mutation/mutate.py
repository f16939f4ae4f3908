"""Change the library in one place at a time, and look whether a test fails.

    python tests/mutation/mutate.py --count 400 --seed 0 --jobs 2 --out mutants.jsonl

A site is drawn at random, then one of its mutations. Each mutant is tried in a copy of the tree,
by the tests that `judges` names; its outcome is one line of the file. ``--survivors-of`` tries
those again that survived in such a file.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
import judges
import sites
from sites import Mutation

ROOT = Path(__file__).parents[2]
COPIED = ("minirpn", "tests", "pyproject.toml")
SHARED_IMPORTS = (
    "array_api_compat.numpy",
    "array_api_strict",
    "hypothesis.extra.numpy",
    "matplotlib.pyplot",
    "numba",
    "PIL.Image",
    "pytest",
    "threadpoolctl",
)
# It must be killed, or what is tried is not what is changed: every area becomes a sum.
OBVIOUS = "return sides[..., 0] * sides[..., 1]", "return sides[..., 0] + sides[..., 1]"
# No shrinking, no replay: the first failure is enough.
PYTEST = ("-x", "-q", "--tb=line", "--hypothesis-profile=mutation", "-p", "no:xdist")


class Trial(NamedTuple):
    """What came of a mutant."""

    mutation: Mutation
    outcome: str  # killed, survived, timeout
    by: str  # the test that failed
    seconds: float
    diff: str


class Place:
    """A copy of the tree in which one mutant is tried at a time."""

    def __init__(self, folder: Path) -> None:
        self.root, self.cache = folder / "tree", folder / "numba"
        self.log, self.private = folder / "log.txt", folder / "numba-of-mutant"
        shutil.rmtree(self.root, ignore_errors=True)
        self.cache.mkdir(parents=True, exist_ok=True)  # machine code of an earlier run stays valid
        for name in COPIED:
            source, target = ROOT / name, self.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target)

    def start(self, module: str, source: str | None) -> int:
        """Write a changed source in the place of `module`, fork, and return the child's id."""
        path = self.root / module
        self._kept = path, path.read_text(encoding="utf-8"), path.stat()
        cache = self.cache
        if source is not None:
            path.write_text(source, encoding="utf-8")
            # numba's machine code is not to be mixed up with that of the tree as it is.
            cache = self.private
            shutil.rmtree(cache, ignore_errors=True)
            shutil.copytree(self.cache, cache, copy_function=os.link)
        self._began = time.monotonic()
        child = os.fork()
        if child == 0:
            self._judge(module, cache)
        return child

    def _judge(self, module: str, cache: Path) -> None:
        """Run the stages of `module` and exit: in the child."""
        code = 2
        try:
            os.setsid()
            output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.chdir(self.root)
            sys.path.insert(0, str(self.root))
            sys.dont_write_bytecode = True
            os.environ |= {"PYTHONPATH": str(self.root), "NUMBA_CACHE_DIR": str(cache)}
            code = run_stages(judges.stages_for(module), cache)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    @property
    def seconds(self) -> float:
        """How long the child has been running."""
        return time.monotonic() - self._began

    def restore(self) -> None:
        """Put the file back, with its old time, so that numba's machine code stays valid."""
        path, source, stat = self._kept
        path.write_text(source, encoding="utf-8")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def failed_test(self) -> str:
        """Return the test that failed, or the last line of the log."""
        lines = self.log.read_text(errors="replace").splitlines() or [""]
        failed = (line for line in lines if line.startswith(("FAILED", "ERROR")))
        return next(failed, lines[-1])[:200]


def run_stages(stages: list[list[str]], cache: Path) -> int:
    """Run one pytest after the other until one fails; return 0 if none does."""
    import numba
    import pytest
    from hypothesis import HealthCheck, Phase, settings

    settings.register_profile(
        "mutation",
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    numba.config.CACHE_DIR = str(cache)
    ignored = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
    for stage in stages:
        code = pytest.main([*PYTEST, *ignored, *stage])
        if code:
            return int(code)
    return 0


def prepare() -> None:
    """Import what every trial needs, once: the trials are forks of this process."""
    for name in SHARED_IMPORTS:
        importlib.import_module(name)


def try_unchanged(places: list[Place], modules: list[str]) -> dict[str, float]:
    """Try the tree as it is, and return seconds by file; raise where a test fails.

    This also compiles what numba compiles, once for each place; the next time it is there.
    """
    seconds: dict[str, float] = {}
    known: dict[str, float] = {}
    for module in modules:
        stages = json.dumps(judges.stages_for(module))
        if stages not in known:
            children = [place.start(module, None) for place in places]
            for place, child in zip(places, children, strict=True):
                _, status = os.waitpid(child, 0)
                known[stages] = place.seconds
                place.restore()
                if os.waitstatus_to_exitcode(status):
                    raise SystemExit(f"{module}: {place.failed_test()} in an unchanged tree")
            print(f"unchanged, {module}: {known[stages]:.0f} s", flush=True)
        seconds[module] = known[stages]
    return seconds


def check_obvious(place: Place) -> None:
    """Raise if the tests do not see an obvious change."""
    source = (place.root / "minirpn/boxes.py").read_text(encoding="utf-8")
    child = place.start("minirpn/boxes.py", source.replace(*OBVIOUS))
    _, status = os.waitpid(child, 0)
    place.restore()
    if OBVIOUS[0] not in source or os.waitstatus_to_exitcode(status) != 1:
        raise SystemExit("an area that is a sum was not seen: the tests import another tree")


def try_all(mutations: list[Mutation], places: list[Place], out: Path) -> list[Trial]:
    """Try the mutants, as many at a time as there are places; write each outcome to `out`."""
    modules = sorted({mutation.module for mutation in mutations})
    limits = {name: 2 * s + 60 for name, s in try_unchanged(places, modules).items()}
    check_obvious(places[0])
    waiting, free, running = list(reversed(mutations)), list(places), {}
    trials: list[Trial] = []
    with out.open("w", encoding="utf-8") as lines:
        while waiting or running:
            while waiting and free:
                mutation, place = waiting.pop(), free.pop()
                before = (place.root / mutation.module).read_text(encoding="utf-8")
                after = sites.mutated_source(before, mutation)
                running[place.start(mutation.module, after)] = place, mutation, before, after
            for child, (place, mutation, before, after) in list(running.items()):
                ended, status = os.waitpid(child, os.WNOHANG)
                if not ended and place.seconds <= limits[mutation.module]:
                    continue
                outcome = "timeout"
                if ended:
                    code = os.waitstatus_to_exitcode(status)
                    outcome = "survived" if code == 0 else "killed"
                else:
                    os.killpg(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                by = "" if outcome == "survived" else place.failed_test()
                diff = "\n".join(
                    line
                    for line in difflib.unified_diff(before.split("\n"), after.split("\n"), n=0)
                    if not line.startswith(("---", "+++", "@@"))
                )
                trials.append(Trial(mutation, outcome, by, round(place.seconds, 1), diff))
                lines.write(json.dumps(trials[-1]) + "\n")
                lines.flush()
                print(f"{len(trials)}/{len(mutations)}", *mutation[:3], outcome, by, flush=True)
                place.restore()
                free.append(place)
                del running[child]
            time.sleep(0.02)
    return trials


def sample(count: int, seed: int, only: str) -> list[Mutation]:
    """Return one random mutation of each of `count` random sites."""
    rng = random.Random(seed)
    possible = [site for site in sites.sites(ROOT) if site[0].module.startswith(only)]
    chosen = rng.sample(possible, min(count, len(possible)))
    return [_one_that_compiles(site, rng) for site in chosen]


def _one_that_compiles(site: list[Mutation], rng: random.Random) -> Mutation:
    """Return a random mutation of a site that is still Python."""
    source = (ROOT / site[0].module).read_text(encoding="utf-8")
    for mutation in rng.sample(site, len(site)):
        try:
            compile(sites.mutated_source(source, mutation), mutation.module, "exec")
        except SyntaxError:
            continue
        return mutation
    raise ValueError(f"{site[0]}: no mutation compiles")


def survivors(file: Path) -> list[Mutation]:
    """Return the mutants that survived in a file of outcomes."""
    rows = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return [Mutation(*row[0]) for row in rows if row[1] == "survived"]


def main() -> None:
    """Read the command line, try the mutants, print the share that was killed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=400, help="sites to mutate (400)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (0)")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time (2)")
    parser.add_argument("--only", default="", help="files that begin so, such as minirpn/boxes.py")
    parser.add_argument("--survivors-of", type=Path, metavar="FILE", help="try these again")
    parser.add_argument(
        "--out", type=Path, help="one line a mutant (mutants.jsonl; of survivors again.jsonl)"
    )
    given = parser.parse_args()
    again = given.survivors_of
    out = given.out or Path("again.jsonl" if again else "mutants.jsonl")
    if out == again:
        parser.error("--out: it would write over --survivors-of")
    mutations = survivors(again) if again else sample(given.count, given.seed, given.only)
    prepare()
    folder = Path(tempfile.gettempdir()) / "minirpn-mutants"
    places = [Place(folder / str(n)) for n in range(given.jobs)]
    trials = try_all(mutations, places, out)
    killed = sum(trial.outcome != "survived" for trial in trials)
    print(f"{killed} of {len(trials)} killed")


if __name__ == "__main__":
    main()
