"""`python -m bench`: how much of a bare pass-through proxy's throughput a minimized, audited read keeps.

The method stands in bench/README.md. Loopback only; bounded in count and time; prints a table, and with `--save` keeps
it in bench/results.json.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count, islice, repeat
from pathlib import Path
from typing import Any

import aiohttp

from bench.servers import HUGE, HUNDRED, NEW, SOME_NEW
from tests.clients.app import REDIRECT_URI, App
from tests.clients.person import Person
from tests.sandbox_server import assent_process, environment, free_port

ROUNDS = 5
PACED_SECONDS = 15
CONNECTIONS = 16
READS = 1_500
SEARCHES = 60
PASSWORD = "a bench of oak"  # noqa: S105 - of an account that lives as long as the run
SCOPE = "launch/patient patient/*.rs"


@contextmanager
def server(kind: str, *arguments: str) -> Iterator[str]:
    """One of `bench.servers`, in its own process."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.servers", kind, str(port), *arguments])  # noqa: S603 - ours
    try:
        time.sleep(1.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def assent(settings: dict[str, str], *arguments: str, typed: str = "") -> dict[str, Any]:
    """Run an `assent` command; answers what it prints."""
    command = [sys.executable, "-m", "assent", *arguments, "--json"]
    done = subprocess.run(command, env=settings, input=typed, capture_output=True, text=True, timeout=60, check=True)  # noqa: S603 - ours
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def rate(urls: Iterator[str], headers: dict[str, str]) -> tuple[float, list[float]]:
    """Requests a second over kept-alive connections, and the time of each in ms."""
    times: list[float] = []
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def worker() -> None:
            for url in urls:
                begun = time.perf_counter()
                async with session.get(url) as answer:
                    await answer.read()
                    if answer.status != 200:
                        raise RuntimeError(f"status {answer.status}")
                times.append((time.perf_counter() - begun) * 1000)

        begun = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(CONNECTIONS)))
        return len(times) / (time.perf_counter() - begun), times


def compare(
    name: str, paths: Iterator[str], requests: int, bases: tuple[str, str], token: str, who: str = "assent"
) -> dict[str, Any]:
    """Alternate between the baseline and `who`, so that both meet the same machine."""
    headers = {"Authorization": f"Bearer {token}"}
    rates: tuple[list[float], list[float]] = ([], [])
    times: tuple[list[float], list[float]] = ([], [])
    for round_number in range(ROUNDS + 1):
        asked = list(islice(paths, requests))
        for which, base in enumerate(bases):
            found, took = asyncio.run(rate((f"{base}/{path}" for path in asked), headers))
            if round_number:  # the first round warms up
                rates[which].append(found)
                times[which].extend(took)
    ratios = [mine / baseline for baseline, mine in zip(*rates, strict=True)]
    return {
        "what": name,
        "pass-through/s": round(statistics.median(rates[0])),
        f"{who}/s": round(statistics.median(rates[1])),
        "ratio": round(statistics.median(ratios), 2),
        "pass-through p50 ms": round(statistics.median(times[0]), 1),
        f"{who} p50 ms": round(statistics.median(times[1]), 1),
        f"{who} p99 ms": round(statistics.quantiles(times[1], n=100)[98], 1),
    }


async def paced(urls: Iterator[str], headers: dict[str, str], per_second: float) -> list[float]:
    """Times in ms of requests that are sent at a steady pace, each counted from when it was due."""
    times: list[float] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS), headers=headers) as session:

        async def one(url: str, due: float) -> None:
            async with session.get(url) as answer:
                await answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"status {answer.status}")
            times.append((time.perf_counter() - due) * 1000)

        begun = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number, url in enumerate(urls):
                due = begun + number / per_second
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                tasks.create_task(one(url, due))
    return times


def at_half_load(paths: Iterator[str], rate: float, bases: tuple[str, str], token: str) -> dict[str, Any]:
    """How much later answers come through Assent than through the pass-through, at half of what Assent can do."""
    headers = {"Authorization": f"Bearer {token}"}
    seconds = PACED_SECONDS / ROUNDS
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        asked = list(islice(paths, int(rate / 2 * seconds)))
        for which, base in enumerate(bases):
            times[which].extend(asyncio.run(paced((f"{base}/{path}" for path in asked), headers, rate / 2)))
    (base50, base99), (mine50, mine99) = (
        (statistics.median(found), statistics.quantiles(found, n=100)[98]) for found in times
    )
    return {
        "what": "read, never seen, at half load",
        "requests/s": round(rate / 2),
        "added p50 ms": round(mine50 - base50, 2),
        "added p99 ms": round(mine99 - base99, 2),
        "assent p50 ms": round(mine50, 2),
        "assent p99 ms": round(mine99, 2),
    }


def process_on(port: int) -> Path:
    """The `/proc` folder of the process that listens on a port."""
    wanted = f"{port:04X}"
    inode = next(
        fields[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (fields := line.split())[1].endswith(f":{wanted}") and fields[3] == "0A"
    )
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(str(link.readlink()) == f"socket:[{inode}]" for link in (process / "fd").iterdir()):
                return process
    raise RuntimeError(f"nobody listens on port {port}")


def memory_mb(process: Path, which: str = "VmRSS") -> float:
    """Resident memory now; the most there was (`VmHWM`)."""
    return round(int((process / "status").read_text().split(f"{which}:")[1].split()[0]) / 1024, 1)


def peak_mb(process: Path, url: str, token: str) -> float:
    """The most resident memory while one request is answered."""
    (process / "clear_refs").write_text("5")  # proc(5): forgets the peak until now
    asyncio.run(rate(iter([url]), {"Authorization": f"Bearer {token}"}))
    return memory_mb(process, "VmHWM")


def main() -> None:
    """Run everything and print it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        server("upstream") as base,
        server("passthrough", base) as baseline,
        server("splitting", base) as splitting,
    ):
        port = free_port()
        settings = environment(Path(folder) / "data", ASSENT_PORT=str(port), ASSENT_UPSTREAM_URL=base)
        who = ["--fhir-user", "Patient/p1", "--patient", "p1=Bench Mark"]
        assent(settings, "user", "add", "bench", *who, typed=f"{PASSWORD}\n")
        client = assent(settings, "client", "add", "Bench", "--redirect-uri", REDIRECT_URI, "--scope", SCOPE)
        with assent_process(["serve"], settings, port, Path(folder) / "log") as issuer:
            process = process_on(port)
            idle = memory_mb(process)
            app = App(f"{issuer}/fhir", client["client_id"], SCOPE)
            with Person("bench", PASSWORD) as person:
                app.redeem(person.authorize(app.authorize_url(), {"Lab results"}))
            bases, token = (f"{baseline}/fhir", f"{issuer}/fhir"), str(app.tokens["access_token"])
            rows = [
                compare("read, never seen", (f"Observation/o{n}" for n in count(2)), READS, bases, token),
                compare("read, seen before", repeat("Observation/o1"), READS, bases, token),
                compare("search, 100 entries never seen", repeat(f"{HUNDRED}&{NEW}"), SEARCHES, bases, token),
                compare("search, 100 entries, one new", repeat(f"{HUNDRED}&{SOME_NEW}"), SEARCHES, bases, token),
                compare("search, 100 entries seen before", repeat(HUNDRED), SEARCHES, bases, token),
            ]
            alone = (bases[0], f"{splitting}/fhir")
            name = "search, 100 entries, only split into members"
            rows.append(compare(name, repeat(f"{HUNDRED}&{NEW}"), SEARCHES, alone, token, "splitting"))
            rows.append(at_half_load((f"Observation/o{n}" for n in count(800_000)), rows[0]["assent/s"], bases, token))
            after = memory_mb(process)
            peak = peak_mb(process, f"{bases[1]}/Observation?_count=50&{HUGE}", token)
            memory = {"idle MB": idle, "after the run MB": after, "while it reads a Bundle of 20 MB": peak}
    for row in rows:
        print("  ".join(f"{name}: {value}" for name, value in row.items()))  # noqa: T201 - the command's output
    print("  ".join(f"{name}: {value}" for name, value in memory.items()))  # noqa: T201 - the command's output
    if "--save" in sys.argv:
        result = Path(__file__).with_name("results.json")
        result.write_text(json.dumps({"rows": rows, "memory": memory}, indent=2) + "\n")


if __name__ == "__main__":
    main()
