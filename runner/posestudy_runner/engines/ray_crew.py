"""Keeps workers alive on a Ray cluster: an actor for each place, and another one where its node died."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from posestudy.errors import LedgerUnavailableError, MissingPieceError
from posestudy.ledger import Ledger
from posestudy.ledger.records import Snapshot
from posestudy.vocabulary import AttemptEnd, TrialState
from posestudy_runner.display import Display, SlotView
from posestudy_runner.engines.ray_head import GONE_S, Head
from posestudy_runner.engines.ray_refusals import Refusals
from posestudy_runner.engines.ray_slots import Node, SlotSize, room
from posestudy_runner.engines.ray_worker import Errand, How, Place, RayWorker, WorkEnd
from posestudy_runner.engines.relayed_display import Said, Stood, replay
from posestudy_runner.pool import Patience
from posestudy_runner.stop import Stop

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""Between the loss of a worker and the next try in its place, which grows while none lives longer than it."""
GROW_S = 10.0
"""How often to look whether the cluster has grown."""
_PATIENT_S = 30.0
"""How long an actor may take to start before its worker is said to wait."""
_LOOK_S = 0.5
_CALLS = 4
"""At a time by one actor: `work`, `news`, `stop` and one spare."""


def alive_nodes() -> list[dict[str, Any]]:
    """The cluster's nodes that are alive, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def sizes(nodes: Sequence[dict[str, Any]]) -> list[Node]:
    """What each of them offers."""
    return [
        Node(node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0), node["NodeID"]) for node in nodes
    ]


@dataclass
class _Post:
    """A place for one worker: the actor that has it now, and how it fares.

    Attributes:
        place: None until the actor is on a node.
        since: when it was hired, placed, or lost.
        pause_s: how long it stays empty after the next loss.
        end: how its work ended; None while it goes on.
        heard_all: whether the last of its news is shown.
        begun: whether its worker is past what a node may lack.
        avoids: whether its actor keeps off nodes that refused.
        waited: whether that was in vain: then even such a node is tried again.
    """

    index: int
    actor: Any = None
    group: Any = None
    place: Place | None = None
    node: str = ""
    since: float = 0.0
    pause_s: float = 0.0
    end: WorkEnd | None = None
    heard_all: bool = False
    begun: bool = False
    avoids: bool = False
    waited: bool = False

    @property
    def working(self) -> bool:
        return self.place is not None and self.end is None

    @property
    def done(self) -> bool:
        return self.end is not None and self.end.how in (How.DONE, How.STOPPED)


class Crew:
    """The workers of one launch.

    Args:
        ledger: where the leases of lost workers are given back.
        errand: what every worker is to do.
        size: of a worker's place.
        workers: how many there shall be; None: as many as the cluster has room for, also when it grows.
        display: shows what they do.
        stop: the user's wish to end.
    """

    def __init__(
        self, ledger: Ledger, errand: Errand, size: SlotSize, workers: int | None, display: Display, stop: Stop
    ) -> None:
        self._ledger = ledger
        self._errand = errand
        self._size = size
        self._workers = workers
        self._display = display
        self._stop = stop
        self._posts: list[_Post] = []
        self._refs: dict[Any, tuple[_Post, Callable[[_Post, Any], None]]] = {}
        self._said: set[str] = set()
        self._refusals = Refusals()
        self._looked = -math.inf
        self._waiting = 0
        self._stops_told = 0
        self._standing: Stood | None = None
        self._seen: Callable[[Snapshot], None] | None = None
        self._class: Any = ray.remote(RayWorker)
        self._head = Head(ray.get_runtime_context().gcs_address)
        self._node = ray.get_runtime_context().get_node_id()
        self._headless = False

    def run(self, seen: Callable[[Snapshot], None] | None = None) -> None:
        """Until nothing is left to do or the user has ended it.

        Args:
            seen: hears of the study whenever more of its trials are done.

        Raises:
            MissingPieceError: no worker can work on the node it was placed on.
        """
        self._seen = seen
        patience = Patience(self._stop, self._errand.options.stop_grace_s)
        try:
            while not self._over():
                if not self._stop.requested:
                    if self._heads() and not self._nothing_left:
                        self._grow()
                        self._hire()
                elif patience.over():
                    self._display.say("left without every worker's word; the leases end by themselves")
                    return
                self._tell_to_stop()
                self._listen()
            self._look()
        finally:
            for post in self._posts:
                self._discharge(post)

    def _over(self) -> bool:
        at_work = any(post.working for post in self._posts)
        if self._stop.requested:
            return not at_work
        return not at_work and self._nothing_left

    @property
    def _nothing_left(self) -> bool:
        """Whether a worker found nothing to do that is left to begin: then a further one would not either."""
        return any(post.done for post in self._posts)

    def _heads(self) -> bool:
        """Whether the cluster's head answers. Workers go on without it, until it is gone for good."""
        # Whoever asks the cluster for its nodes asks the head; where nothing is left, nobody does.
        due = not self._nothing_left and time.monotonic() - self._looked >= GROW_S
        silent_s = self._head.silent_s(now=due)
        if silent_s >= GONE_S:
            head = f"the head of the Ray cluster at {self._head.address}"
            self._save(f"{head} is gone", "the head of the Ray cluster is gone")
        elif bool(silent_s) is not self._headless:
            self._headless = not self._headless
            gone = "does not answer; waiting for it" if self._headless else "answers again"
            self._display.say(f"the head of the Ray cluster at {self._head.address} {gone}")
        return not silent_s

    def _save(self, said: str, why: str) -> None:
        """Have trials saved, unless the user has asked for it meanwhile: a second request would kill them."""
        if not self._stop.requested:
            self._stop.request(why)
            self._display.say(f"{said}: saving what is trained")

    # ---- hiring

    def _grow(self) -> None:
        now = time.monotonic()
        if now - self._looked < GROW_S:
            return
        nodes = sizes(alive_nodes())
        if self._node not in {node.name for node in nodes}:
            self._save("this machine is no node of the Ray cluster any more", "the launcher's Ray node is gone")
            return
        able = any(self._size.fits(node) for node in nodes)
        wanted = self._workers or room(nodes, self._size)
        self._posts += [_Post(index) for index in range(len(self._posts), wanted)]
        unplaced = 0
        for post in self._posts:
            if post.actor is None or post.place is not None or (able and now - post.since <= _PATIENT_S):
                continue
            if post.avoids:
                # What a node lacked may be there by now.
                self._discharge(post)
                post.waited = True
            else:
                unplaced += 1
        if unplaced != self._waiting:
            self._waiting = unplaced
            if unplaced:
                none = "" if able else "; none of the cluster's nodes has as much"
                self._display.say(
                    f"{unplaced} of {len(self._posts)} workers wait for a node with {self._size.words} free{none}"
                )
        self._looked = now

    def _hire(self) -> None:
        now = time.monotonic()
        for post in self._posts:
            if post.actor is None and post.end is None and now - post.since >= post.pause_s:
                self._hire_for(post)

    def _hire_for(self, post: _Post) -> None:
        size = self._size
        options: dict[str, Any] = {"num_cpus": size.cores, "num_gpus": math.floor(size.gpus * 1e4) / 1e4}
        elsewhere = {} if post.waited else self._refusals.elsewhere()
        post.avoids = bool(elsewhere)
        if size.processes > 1:
            # One bundle, for its ranks talk to each other on one node.
            bundle = {name: float(amount) for name, amount in (("CPU", size.cores), ("GPU", size.gpus)) if amount}
            where = {"bundle_label_selector": [elsewhere]} if elsewhere else {}
            post.group = placement_group([bundle], strategy="STRICT_PACK", **where)
            options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(post.group)
        elif elsewhere:
            options["label_selector"] = elsewhere
        post.actor = self._class.options(max_concurrency=_CALLS, max_restarts=0, max_task_retries=0, **options).remote()
        post.since = time.monotonic()
        self._call(post, post.actor.place.remote(), self._placed)

    def _call(self, post: _Post, ref: Any, answer: Callable[[_Post, Any], None]) -> None:
        self._refs[ref] = (post, answer)

    def _placed(self, post: _Post, place: Place) -> None:
        if self._stops_told:
            # It came too late to hear of it, and has begun nothing.
            self._discharge(post)
            return
        post.place = place
        post.since = time.monotonic()
        post.node = self._node_name(post, place)
        post.heard_all = post.begun = post.waited = False
        self._show(post, "starting")
        self._call(post, post.actor.work.remote(self._errand), self._ended)
        self._call(post, post.actor.news.remote(), self._heard)

    def _node_name(self, post: _Post, place: Place) -> str:
        """The host's name; with Ray's identifier of the node where one machine plays several."""
        hosts = Counter(node["NodeManagerHostname"] for node in alive_nodes())
        if hosts[place.host] < 2:
            return place.host
        return f"{place.host}.{place.node[:4]}"

    # ---- listening

    def _listen(self) -> None:
        if not self._refs:
            self._stop.pause(_LOOK_S)
            return
        refs = list(self._refs)
        ready, _ = ray.wait(refs, num_returns=1, timeout=_LOOK_S)
        if ready:
            # All that is there by now.
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in ready:
            if ref in self._refs:
                self._hear(ref)

    def _hear(self, ref: Any) -> None:
        post, answer = self._refs.pop(ref)
        try:
            answer(post, ray.get(ref))
        except RayTaskError:
            raise  # a mistake of ours
        except RayError as error:
            if post.place is None and "creation task" in str(error):
                self._refuse(post, f"posestudy cannot be imported on every node: {_last_line(error)}")
            else:
                self._lose(post, error)

    def _heard(self, post: _Post, news: tuple[Sequence[Any], bool]) -> None:
        events, last = news
        for event in events:
            if isinstance(event, Said) and event.preparing:
                # Every worker says the same while it prepares.
                if event.text in self._said:
                    continue
                self._said.add(event.text)
            else:
                post.begun = True
                if post.place is not None:
                    self._refusals.forget(post.place.node)
            if isinstance(event, Stood) and not self._is_newer(event):
                continue
            replay(event, self._display, post.index, post.node)
        if last:
            post.heard_all = True
            self._settle(post)
        else:
            self._call(post, post.actor.news.remote(), self._heard)

    def _ended(self, post: _Post, end: WorkEnd) -> None:
        post.end = end
        self._settle(post)

    def _settle(self, post: _Post) -> None:
        if post.end is None or not post.heard_all:
            return
        if post.end.how is How.REFUSED:
            self._refuse(post, post.end.why)
        elif post.end.how is How.LEFT:
            self._replace(post, post.end.how.value)
        else:
            self._discharge(post)
            for other in self._posts:
                if other.place is None:
                    self._discharge(other)

    def _refuse(self, post: _Post, why: str) -> None:
        """A worker cannot work on its node; others may on theirs.

        Raises:
            MissingPieceError: no node is left on which one might.
        """
        self._refusals.add(None if post.place is None else post.place.node)
        text = f"{post.node}: {why}" if post.node else why
        self._discharge(post)
        hopeful = any(
            other.place is not None
            and other.working
            and (other.begun or self._refusals.leave_hope(other.place.node, other.since))
            for other in self._posts
        )
        able = {node.name for node in sizes(alive_nodes()) if self._size.fits(node)}
        if not hopeful and self._refusals.everywhere(able, len(self._posts)):
            raise MissingPieceError(text)
        self._empty(post, in_vain=True)
        if text not in self._said:
            self._said.add(text)
            self._display.say(f"{text}; tried again elsewhere, or there later")

    def _is_newer(self, now: Stood) -> bool:
        """Whether more is done than was known; workers tell it one after the other, and some late."""
        before = self._standing
        if before is not None and (now.total, now.done) <= (before.total, before.done):
            return False
        self._standing = now
        self._look()
        return True

    def _look(self) -> None:
        """Have the user told of what happened. Where the ledger is away, the next look tells."""
        if self._seen is not None:
            with suppress(LedgerUnavailableError):
                self._seen(self._ledger.snapshot(self._errand.goal.study, values=False))

    # ---- losses

    def _lose(self, post: _Post, error: RayError) -> None:
        """Its actor is gone with whatever it trained; the checkpoints are not."""
        if post.end is not None:
            # Only its last words are lost.
            post.heard_all = True
            self._settle(post)
        else:
            self._replace(post, _why(error))

    def _replace(self, post: _Post, why: str) -> None:
        """Have another worker in place of a lost one, unless all are to stop."""
        place, node = post.place, post.node
        self._discharge(post)
        if place is not None:
            then = "" if self._stop.requested else "; another one takes its place"
            self._display.say(f"{node}: the worker is lost ({why}){then}")
            self._release(place.owner)
        self._empty(post)

    def _empty(self, post: _Post, *, in_vain: bool = False) -> None:
        lived_s = 0.0 if in_vain else time.monotonic() - post.since
        longer_s = min(2 * post.pause_s, LONGEST_PAUSE_S)
        post.pause_s = FIRST_PAUSE_S if lived_s > post.pause_s else max(FIRST_PAUSE_S, longer_s)
        post.since = time.monotonic()
        post.end, post.node = None, ""
        self._show(post, "no worker")

    def _release(self, owner: str) -> None:
        """Give back what the lost worker holds. Where it lives on unseen, its fence is outdated from now on."""
        try:
            for trial in self._ledger.snapshot(self._errand.goal.study, values=False).trials:
                if trial.state is TrialState.RUNNING and trial.owner == owner:
                    why = f"the worker {owner} was lost with its Ray actor"
                    self._ledger.release(trial.uid, trial.fence, AttemptEnd.LOST, why)
        except LedgerUnavailableError:
            self._display.say("the ledger cannot be reached: the lost worker's lease ends by itself")

    def _discharge(self, post: _Post) -> None:
        """Forget its actor, and end it where it lives."""
        self._refs = {ref: known for ref, known in self._refs.items() if known[0] is not post}
        if post.actor is not None:
            ray.kill(post.actor, no_restart=True)
        if post.group is not None:
            remove_placement_group(post.group)
        post.actor = post.group = post.place = None

    # ---- ending

    def _tell_to_stop(self) -> None:
        """Pass on what the user asked for, each level once."""
        level = self._stop.requested + self._stop.demanded
        while self._stops_told < level:
            self._stops_told += 1
            for post in self._posts:
                if post.working:
                    post.actor.stop.remote(self._stop.why)
                    self._show(post, "stopping")

    def _show(self, post: _Post, note: str) -> None:
        self._display.show(post.index, SlotView(device="", note=note, node=post.node))


def _last_line(error: RayError) -> str:
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)


def _why(error: RayError) -> str:
    """Ray's reason in a few words; its logs have the many."""
    text = str(error)
    if isinstance(error, ActorUnavailableError):
        return "it cannot be reached"
    if "low on memory" in text:
        return "Ray killed it, as its node ran out of memory"
    return "its node died" if "node has died" in text or "node was terminated" in text else "its process died"
