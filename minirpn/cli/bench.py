"""``minirpn bench``: how fast minirpn is here, compared with other implementations."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

NAME = "bench"
SUMMARY = "measure speed, compared with other implementations"
DESCRIPTION = """\
Measure whole networks at 600x1000 and operations on boxes, and the same work by each peer that is
installed (pip install 'minirpn[peers]'). All take turns in one run. The ratio is to the fastest
peer. It takes some minutes; the numbers are steadier if the machine does nothing else.

With --device cuda, other rows are measured, against PyTorch with CUDA on the same card and at the
same precision.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this command to the parser."""
    parser.add_argument(
        "--device", default="cpu", metavar="NAME", help="cpu (default), cuda, cuda:1, ..."
    )
    parser.add_argument(
        "--tf32",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="on a GPU, round the factors of products to 10 bits, for the peers too",
    )
    parser.add_argument("--only", nargs="+", metavar="ROW", help="measure only these rows")
    parser.add_argument("--list", action="store_true", help="list the rows and measure nothing")
    parser.add_argument(
        "--rounds", type=int, default=5, metavar="N", help="calls of each (default: 5)"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="threads (default: all cores)")
    parser.add_argument("--no-peers", action="store_true", help="measure only minirpn")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers to FILE")


def run(args: argparse.Namespace) -> int:
    """Measure, print a line for each row, and return the exit status."""
    from minirpn import bench
    from minirpn.accel.threads import thread_count
    from minirpn.bench.peers import missing_peers, peer_versions, use_tf32
    from minirpn.bench.table import use_threads
    from minirpn.devices import check_device_name, open_device
    from minirpn.files import write_json
    from minirpn.training.environment import describe_environment

    check_device_name(args.device, auto=False)  # the user must know what is measured
    device = open_device(args.device, tf32=args.tf32)
    chosen = _chosen(bench.rows(device), args.only)
    if args.list:
        for row in chosen:
            print(f"{row.name:<16} {row.what}")
        return 0
    _check(args)
    use_threads(args.threads or thread_count())
    versions = {} if args.no_peers else peer_versions()
    if not args.no_peers:
        use_tf32(device.tf32)
        if missing := missing_peers(device):
            print(missing, file=sys.stderr)
    if not device.is_host:
        whose = "" if args.no_peers else ", the peers' too"
        print(f"device: {device}; products in {bench.precision(device)}{whose}", flush=True)
    results = []
    for row in chosen:
        print(f"measuring {row.name} ... (the first call may compile)", file=sys.stderr)
        results.append(bench.run_row(row, rounds=args.rounds, peers=not args.no_peers))
        print(results[-1].line(), flush=True)
    if args.json is not None:
        environment = describe_environment(device)
        record = {
            "device": str(device),
            "tf32": device.tf32,
            # What the numbers depend on.
            "machine": environment | {"threads": thread_count(), "peers": versions},
            "rows": [result.to_record() for result in results],
        }
        write_json(args.json, record)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Raise InputError before anything is measured, if a flag has a wrong value."""
    from minirpn.errors import InputError

    for flag, value in (("--rounds", args.rounds), ("--threads", args.threads)):
        if value is not None and value < 1:
            raise InputError(f"{flag}: expected at least 1, got {value}")
    if args.json is not None and not args.json.parent.is_dir():
        raise InputError(f"--json: {args.json}: there is no folder {args.json.parent}")


def _chosen(rows: tuple[Any, ...], only: list[str] | None) -> list[Any]:
    """Return the rows named by --only, or all, in the order of the table."""
    from minirpn.errors import InputError, did_you_mean

    names = [row.name for row in rows]
    for name in only or ():
        if name not in names:
            near = did_you_mean(name.lower(), names)
            raise InputError(f"--only: no row {name!r}; there are {', '.join(names)}{near}")
    return [row for row in rows if only is None or row.name in only]
