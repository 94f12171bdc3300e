"""The engine for any batch system: the user's job template, filled in once a job, and the user's submit command."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final

from posestudy import given_paths, settings
from posestudy.durable import make_folder, write_text
from posestudy.errors import InputError, PoseStudyError
from posestudy.masking import hidden, secret_part
from posestudy.printable import printable
from posestudy_runner import components, image_cache, weights
from posestudy_runner.engines import Ended
from posestudy_runner.engines.job_template import JobTemplate
from posestudy_runner.engines.jobs import asked_of_one, check_gpus, check_ledger, devices, known_open_trials
from posestudy_studies import stop_rules
from posestudy_studies.cluster import Cluster, contained

if TYPE_CHECKING:
    from posestudy.home import Home
    from posestudy_runner.engines import Placement

MOST_JOBS: Final = 32
"""Jobs of one launch that does not say how many."""
SUBMIT_LIMIT_S: Final = 300.0
_MOST_OUTPUT: Final = 2000
_SHELL: Final = frozenset({"|", "||", "&", "&&", ";", ">", ">>", "<<", "2>", "2>&1"})
_HANDED_ON: Final = (
    *("POSESTUDY_DATABASE_URL", settings.DATABASE_PASSWORD_FILE, "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME"),
    *(settings.MLFLOW_PASSWORD_FILE, components.VARIABLE, image_cache.FOLDER_VARIABLE, image_cache.LIMIT_VARIABLE),
)
"""Variables of the launch that a job starts its worker with; those with a password in them are not written down."""
_FILES: Final = frozenset({settings.DATABASE_PASSWORD_FILE, settings.MLFLOW_PASSWORD_FILE, image_cache.FOLDER_VARIABLE})
_SQLITE: Final = "sqlite:///"
_PLACEHOLDERS: Final = {"gres": ("gres", "gpus"), "time": ("time", "minutes")}
_SAID: Final = ("partition", "account", "qos", "gres", "time", "cpus", "mem_gb", "options")
"""Keys of `cluster` that the batch system hears of through placeholders alone: of their own name, or these."""


@dataclass(frozen=True)
class Job:
    """One job: its number in the study, and its files."""

    number: int
    folder: Path

    @property
    def script(self) -> Path:
        return self.folder / f"job_{self.number}.sh"

    @property
    def log(self) -> Path:
        """What the job prints, where the template says so."""
        return self.folder / f"job_{self.number}.log"

    @property
    def submission(self) -> Path:
        """What the submit command said (JSON)."""
        return self.folder / f"job_{self.number}.json"


@dataclass(frozen=True)
class SubmitCommand:
    """A command of words, run without a shell; `< FILE` at its end gives the file as standard input."""

    words: tuple[str, ...]
    reads: str | None = None

    @classmethod
    def parse(cls, text: str) -> SubmitCommand:
        """The command that `cluster.submit` says.

        Raises:
            PoseStudyError: it is no command, needs a shell, or does not name the job script.
            InputError: it has a placeholder that does not exist.
        """
        if wrong := JobTemplate("cluster.submit", text).unknown():
            raise InputError(wrong)
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise PoseStudyError(
                f"cluster.submit: found {text!r}, expected a command ({str(error).lower()})"
            ) from error
        reads = None
        if len(words) > 1 and words[-2] == "<":
            *words, _, reads = words
        elif words and words[-1].startswith("<") and words[-1] not in _SHELL:
            reads = words.pop()[1:]
        if odd := next((word for word in words if word in _SHELL or word == "<"), None):
            raise PoseStudyError(
                f"cluster.submit: found {odd!r} in {text!r}, expected words and at most `< {{job}}` at the end; the "
                f"command runs without a shell, which `sh -c '...'` starts"
            )
        if not words or not any(JobTemplate("", word).uses("job") for word in (*words, reads or "")):
            raise PoseStudyError(
                f"cluster.submit: found {text!r}, expected a command with {{job}} where the job script's path belongs"
            )
        return cls(tuple(words), reads)

    def run(self, values: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Call it, with `values` for its placeholders; what it prints is in `stdout`.

        Raises:
            InputError: it has a placeholder without a value.
            OSError: it cannot be started.
            subprocess.TimeoutExpired: it did not end in five minutes.
        """
        words = [JobTemplate("cluster.submit", word).filled(values) for word in self.words]
        given = None if self.reads is None else JobTemplate("cluster.submit", self.reads).filled(values)
        # A file, not a pipe: whatever the command leaves running may hold it open.
        with open(given or os.devnull, "rb") as stream, TemporaryFile() as said:
            done = subprocess.run(
                words, stdin=stream, stdout=said, stderr=subprocess.STDOUT, timeout=SUBMIT_LIMIT_S, check=False
            )
            said.seek(0)
            output = said.read().decode("utf-8", "replace")
        return subprocess.CompletedProcess(words, done.returncode, output)


def run(placement: Placement) -> Ended:
    """Write and submit a job for each worker; they train without the launcher.

    Raises:
        PoseStudyError: the study's `cluster` lacks `template` or `submit`, these are not as they must be, or jobs
            were not submitted; the message names these, and the others stay submitted.
    """
    study, say = placement.study.study, placement.display.say
    cluster = placement.study.cluster or Cluster()
    template, submit = read_template(cluster), _submit(cluster)
    most = asked_of_one(placement)
    check_gpus(cluster, most)
    left = known_open_trials(placement)
    if not left:
        say("no trial is left to run: no job is submitted")
        return Ended.DONE
    if why := stop_rules.halted(placement.ledger.snapshot(study, values=False)):
        say(f"{why}: no further trial starts, and no job is submitted; change `budget` in the study file to go on")
        return Ended.DONE
    for line in (*_earlier(placement.home.jobs(study)), *_not_used(placement, most), *not_said(cluster, template)):
        say(line)
    count = placement.workers or cluster.array or min(left, MOST_JOBS)
    check_ledger(placement)
    command = worker_command(placement)
    # What is wrong with the template is told before anything is made.
    template.filled(job_values(placement, Job(0, placement.home.jobs(study)), command))
    jobs = [_new_job(placement.home, study) for _ in range(count)]
    scripts = [template.filled(job_values(placement, job, command)) for job in jobs]
    failed = []
    for job, script in zip(jobs, scripts, strict=True):
        write_text(job.script, script)
        # Some batch systems start the file itself: who may read it may run it.
        mode = job.script.stat().st_mode
        job.script.chmod(mode | (mode & 0o444) >> 2)
        why = _submitted(job, submit, job_values(placement, job, command))
        if why is None:
            said = json.loads(job.submission.read_text(encoding="utf-8"))["output"]
            say(f"job {job.number} submitted: {printable(' '.join(said.split())) or 'the command said nothing'}")
        else:
            failed.append(f"job {job.number} ({job.script}) was not submitted: {why}")
    if failed:
        stay = len(jobs) - len(failed)
        raise PoseStudyError("\n  ".join([f"{stay} of {len(jobs)} jobs were submitted and stay so", *failed]))
    say(f"scripts and logs of the jobs are in {placement.home.jobs(study)}")
    return Ended.ELSEWHERE


def _earlier(folder: Path) -> Iterator[str]:
    """What is kept of the jobs of earlier launches."""
    known, unknown = 0, list[str]()
    for path in sorted(folder.glob("job_*.json")):
        if "output" in json.loads(path.read_text(encoding="utf-8")):
            known += 1
        else:
            unknown.append(path.stem.removeprefix("job_"))
    if known:
        jobs = "1 job of this study was" if known == 1 else f"{known} jobs of this study were"
        yield f"{jobs} submitted before; where they still run, these come beside them"
    if unknown:
        yield (
            f"whether job {', '.join(unknown)} came into the queue is not known, as the launch or its submit command "
            "did not end: look there; it would train beside these"
        )


def _not_used(placement: Placement, most: int) -> Iterator[str]:
    """What is asked for and no job makes use of."""
    options, cluster = placement.options, placement.study.cluster or Cluster()
    if options.per_gpu not in (None, 1):
        yield "--per-gpu is not heeded by --engine script: a job trains one trial at a time"
    if devices(cluster) > most:
        yield (
            f"cluster.gres asks for {devices(cluster)} GPUs, of which a job uses {most}: it trains one trial at a time"
        )


def not_said(cluster: Cluster, template: JobTemplate) -> Iterator[str]:
    """What `cluster` asks for and neither the template nor the submit command hands on."""
    texts = (template, JobTemplate("cluster.submit", cluster.submit or ""))
    for key in _SAID:
        words = _PLACEHOLDERS.get(key, (key,))
        if getattr(cluster, key) and not any(text.uses(word) for text in texts for word in words):
            named = " or ".join(f"{{{word}}}" for word in words)
            yield f"cluster.{key} is not handed on: neither the template nor cluster.submit has {named}"


def read_template(cluster: Cluster) -> JobTemplate:
    """The template that `cluster` names.

    Raises:
        PoseStudyError: it names none, or none that can be used.
    """
    if cluster.template is None:
        raise PoseStudyError(
            "--engine script: found no cluster.template, expected the file of a job script with {command} in it: "
            '`cluster: {template: job.sh.in, submit: "bsub < {job}"}` in the study file or in a --profile'
        )
    template = JobTemplate.read(Path(cluster.template))
    if cluster.setup and not template.uses("setup"):
        raise PoseStudyError(
            f"{cluster.template}: found no {{setup}}, expected it where the lines of cluster.setup belong"
        )
    return template


def _submit(cluster: Cluster) -> SubmitCommand:
    if not cluster.database:
        raise PoseStudyError(
            "cluster.database: found false, expected true with --engine script: its jobs claim their trials in the "
            "ledger; `posestudy export` writes jobs that need none"
        )
    if cluster.submit is None:
        raise PoseStudyError(
            "--engine script: found no cluster.submit, expected the command that submits a job script, "
            'such as `submit: "bsub < {job}"`'
        )
    return SubmitCommand.parse(cluster.submit)


def _new_job(home: Home, study: str) -> Job:
    """The first number that no job of the study has; its script is made, empty."""
    folder = home.jobs(study)
    make_folder(folder)
    taken = [int(found[1]) for path in folder.iterdir() if (found := re.fullmatch(r"job_(\d+)\.sh", path.name))]
    number = max(taken, default=0) + 1
    while True:
        job = Job(number, folder)
        try:
            job.script.touch(exist_ok=False)
        except FileExistsError:
            number += 1
        else:
            return job


def worker_command(placement: Placement) -> str:
    """What a job runs, for a shell: one worker that joins the study."""
    cluster, options = placement.study.cluster or Cluster(), placement.options
    container = cluster.container
    if container is not None and container.runtime == "pyxis":
        raise PoseStudyError(
            "cluster.container.runtime: found pyxis, which is a plugin of Slurm; expected apptainer or singularity "
            "with --engine script"
        )
    words = [container.python if container else sys.executable, "-m", "posestudy", "--home", str(placement.home.root)]
    words += ["worker", placement.study.study, "--start", options.start, "--lease", f"{options.lease_s:g}"]
    if options.memory_limit_mb is not None:
        words += ["--memory-limit", f"{options.memory_limit_mb:g}"]
    if options.notify is not None:
        words += ["--notify", options.notify]
    instead = {image_cache.FOLDER_VARIABLE} if cluster.local_cache else set()
    given = [f"{name}={value}" for name, value in _handed_on() if name not in instead]
    told = [pair for pair in given if secret_part(pair.partition("=")[2]) is None]
    command = shlex.join([*(["env", *told] if told else []), *contained(words, container, gpus=devices(cluster) > 0)])
    if cluster.local_cache is None:
        return command
    # The node's variables: the only words that the job's shell is to look into.
    return f'env {image_cache.FOLDER_VARIABLE}="{cluster.local_cache}" {command}'


def _handed_on() -> Iterator[tuple[str, str]]:
    """The variables of the launch that a job is to have; files by full path, since a job may start in any folder."""
    for name in _HANDED_ON:
        if not (value := os.environ.get(name)):
            continue
        if name in _FILES and value.strip().lower() != image_cache.OFF:
            value = _full(value.strip())
        elif value.startswith(_SQLITE) and (file := value.removeprefix(_SQLITE)) and not file.startswith(("/", ":")):
            value = _SQLITE + _full(file)
        yield name, value
    if os.environ.get("TORCH_HOME") or os.environ.get("XDG_CACHE_HOME"):
        # Where the launch has put initial weights; a node may reach no server to fetch them again.
        yield "TORCH_HOME", _full(weights.home())


def _full(path: str | Path) -> str:
    return str(given_paths.absolute(given_paths.expanded(path)))


def job_values(placement: Placement, job: Job, command: str) -> dict[str, str]:
    """What stands for the placeholders that have a value."""
    study, home = placement.study.study, str(placement.home.root)
    if any(ord(sign) < 32 for sign in home):
        raise PoseStudyError(f"the home {home!r} has a control character in its path, which no job script can name")
    cluster = placement.study.cluster or Cluster()
    return {
        **cluster_values(cluster),
        "study": study,
        "number": str(job.number),
        "name": f"{cluster.job_name or study}-{job.number}",
        "command": command,
        "home": home,
        "job": str(job.script),
        "log": str(job.log),
    }


def cluster_values(cluster: Cluster) -> dict[str, str]:
    """The part of it that `cluster` says."""
    values = {
        "setup": "\n".join(cluster.setup),
        "gpus": str(devices(cluster)),
        "options": " ".join(cluster.options),
        "cpus": None if cluster.cpus is None else str(cluster.cpus),
        "mem_gb": None if cluster.mem_gb is None else f"{cluster.mem_gb:g}",
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "gres": cluster.gres,
    }
    if cluster.time_s is not None:
        minutes, seconds = divmod(round(cluster.time_s), 60)
        values["time"] = f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
        values["minutes"] = str(minutes + (seconds > 0))
    return {name: value for name, value in values.items() if value is not None}


def _submitted(job: Job, submit: SubmitCommand, values: Mapping[str, str]) -> str | None:
    """Submit the job and keep what was said; why it was not, or None."""
    # Before, so that the next launch knows of a job whose launch ended meanwhile.
    write_text(job.submission, json.dumps({"asked": _now()}) + "\n")
    in_doubt = False
    try:
        done = submit.run(values)
        code, output = done.returncode, done.stdout
    except OSError as error:
        code, output = None, f"{error.filename or submit.words[0]}: {(error.strerror or str(error)).lower()}"
    except subprocess.TimeoutExpired:
        code, in_doubt = None, True
        output = f"the command did not end in {SUBMIT_LIMIT_S:.0f} s; whether the job is queued is not known"
    output = hidden(output.strip())[-_MOST_OUTPUT:]
    if code != 0:
        if not in_doubt:
            job.submission.unlink()
        how = "" if code is None else f"`{submit.words[0]}` ended with {code}: "
        return f"{how}{printable(output) or 'it said nothing'}"
    write_text(job.submission, json.dumps({"submitted": _now(), "output": output}, indent=2) + "\n")
    return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
