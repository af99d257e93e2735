"""What is done to the fleet: kills, fail points, zombies, a dying broker, scaling; each waits until the pipeline goes on."""
import math

from fleet import *  # noqa: F403

# Where each fail point of the code can be reached: stages, and what has to come before it.
POINTS = {
    "stage.after_take": (["customer", "terminal", "score", "alert"], ""),
    "stage.after_put": (["customer", "terminal", "score", "alert"], ""),
    "txn.before_offsets": (["customer", "terminal", "score", "alert"], ""),
    "txn.after_offsets": (["customer", "terminal", "score", "alert"], ""),
    "txn.before_commit": (["customer", "terminal", "score", "alert"], ""),
    "txn.after_commit": (["customer", "terminal", "score", "alert"], ""),
    "txn.in_abort": (["customer", "terminal", "score"], "txn.before_commit:3:error,"),
    "txn.in_renew": (["customer", "terminal", "score"], "txn.after_commit:3:error,"),
    "changelog.write": (["customer", "terminal", "alert"], ""),
    "changelog.restoring": (["customer", "terminal", "alert"], ""),
    "changelog.restored": (["customer", "terminal", "score", "alert"], ""),
    "stage.dead_letter": (["customer"], ""),
    "score.model_swap": (["score"], ""),
    "train.publish": (["learn"], ""),
    "log.revoking": ([], ""),  # scale() does it: it takes a rebalance
}
REACH_S = 300  # a boundary of the training may be that far away
PARTS = {"customer": 2, "terminal": 1, "score": 2, "learn": 1, "alert": 1}
SCALED = ["terminal", "alert"]


class Plan:
    """How much of each fault. throttle_ms: pause of a first-stage process after 50 payments."""

    def __init__(self, kills, points, zombies, brokers, scalings, throttle_ms=50, seed=1):
        """points: how often each; zombies: rounds, three in each, of kinds that the seed begins with."""
        self.kills, self.points, self.zombies, self.brokers, self.scalings = kills, points, zombies, brokers, scalings
        self.throttle_ms, self.seed = throttle_ms, int(os.environ.get("SEED", seed))


class Faults:
    def __init__(self, fleet, live, plan):
        self.fleet, self.live, self.plan = fleet, live, plan
        self.rand = random.Random(plan.seed)
        self.kills, self.reached, self.wrong = [], [], []
        self.zombies = self.brokers = self.scalings = 0

    def together(self, *calls):
        def call(what, *args):
            try:
                why = what(*args)
            except Exception as e:  # noqa: BLE001: a fault that cannot be made is a failed test, not its end
                why = f"{what.__name__}{[getattr(a, 'name', a) for a in args]}: {type(e).__name__}: {e}"
            if why:
                print(f"wrong: {why}", flush=True)
                self.wrong.append(why)
        threads = [threading.Thread(target=call, args=c) for c in calls]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def slot(self, stage):
        return self.rand.choice([s for s in self.fleet.slots.values() if s.stage == stage and s.wanted])

    def held(self, slot):
        """The slot's tasks; a group that is just being shared out has none."""
        return wait_for(f"{slot.name} to have tasks", lambda: self.fleet.tasks(slot.stage).get(slot.i)) or []

    # ---- kill -9

    def kill(self, slot):
        """At a random instant; how long until the slot's next output is known when the live reader says what it saw."""
        more = self.live.count("scores") + self.rand.randrange(200, 1000)
        wait_for("payments to be scored", lambda: self.live.count("scores") >= more, 120)
        if slot.stage == "learn":
            self.fleet.kill(slot)
            self.kills.append((slot.stage, [], 0, 0))
            return None
        tasks = self.held(slot)
        before = self.fleet.progress(slot.stage, tasks)
        at = self.fleet.kill(slot)
        self.kills.append((slot.stage, tasks, at, slot.started_ms))
        topic = WRITES.get(slot.stage)
        went_on = (lambda: self.live.seen_since(topic, tasks, slot.started_ms)) if topic else \
            (lambda: self.fleet.progress(slot.stage, tasks) > before)
        went = wait_for(f"{slot.name} to go on", went_on)
        print(f"{slot.name}: {self.restart(slot, at)}", flush=True)
        return None if went else f"{slot.name} was killed and did not go on within {WAIT_S} s"

    def restart(self, slot, at):
        """Where the time after a kill went, as the new process tells it: seconds after the kill."""
        said = []
        for event, name in ("started", "open"), ("task_restored", "restored"):
            said += [f"{name} after {(t - at) / 1000:.2f} s" for t in self.fleet.times(slot, event)[-1:] if t > at]
        return ", ".join(said + [f"seen to go on after {time.time() - at / 1000:.2f} s"])

    # ---- fail points

    def point(self, slot, point):
        hit = 1 if point in ("score.model_swap", "train.publish", "txn.in_abort", "txn.in_renew", "changelog.restored") else \
            self.rand.randrange(2, 9)
        self.fleet.kill(slot, f"{POINTS[point][1]}{point}:{hit}:kill")
        process = slot.process
        with self.fleet.lock:
            slot.expected.add(process)
        if end_of(process, REACH_S) != -9 or f"point={point} " not in self.fleet.log(slot):
            return f"{slot.name} did not come to {point} within {REACH_S} s (exit status {process.returncode})"
        self.reached.append(point)
        return self.fleet.goes_on(slot.stage) if slot.stage != "learn" else None

    def points(self):
        """Each point once, in different stages at the same time."""
        left = [p for p, (stages, _) in POINTS.items() if stages]
        self.rand.shuffle(left)
        while left:
            batch, busy = [], set()
            for point in list(left):
                free = [s for s in POINTS[point][0] if s not in busy]
                if free:
                    stage = self.rand.choice(free)
                    busy.add(stage)
                    left.remove(point)
                    batch.append((self.point, self.slot(stage), point))
            self.together(*batch)

    # ---- zombies

    def resume(self, process):
        process.send_signal(signal.SIGCONT)
        self.zombies += 1

    def replaced(self, slot):
        """Stopped beyond its session; the same slot is started anew meanwhile. Then it goes on, and has to find out and end."""
        tasks = self.held(slot)
        with self.fleet.lock:
            old = slot.process
            slot.expected.add(old)
            old.send_signal(signal.SIGSTOP)
            began = time.monotonic()
            self.fleet.launch(slot)
        why = self.fleet.goes_on(slot.stage, tasks)
        wait_for("the session's end", lambda: time.monotonic() - began > SESSION_S + 1)
        self.resume(old)
        status = end_of(old, 60)
        if status != 1:
            return why or f"{slot.name}: the replaced process ended with status {status}, 1 expected"
        return why or self.fleet.goes_on(slot.stage)

    def displaced(self, slot):
        """Stopped until another slot has its tasks; then it goes on, gets tasks again, and does not end."""
        process = slot.process
        process.send_signal(signal.SIGSTOP)
        took_over = wait_for(f"another to take over from {slot.name}", lambda: slot.i not in (now := self.fleet.tasks(slot.stage)) and
                             sum(map(len, now.values())) == PARTITIONS)
        why = self.fleet.goes_on(slot.stage)
        self.resume(process)
        if not took_over:
            return f"nobody took over from {slot.name}"
        if not wait_for(f"{slot.name} to have tasks again", lambda: self.fleet.tasks(slot.stage).get(slot.i)):
            return f"{slot.name} was resumed and got no tasks"
        why = why or self.fleet.goes_on(slot.stage)
        return why or (f"{slot.name} ended; its group had only to take it in again" if slot.process is not process else None)

    def halted(self, slot, rule):
        """Stopped in the middle of a commit, longer than its transaction may last; nobody takes its place. Then it goes on."""
        tasks = self.held(slot)
        self.fleet.kill(slot, rule)
        process = slot.process
        if not wait_for(f"{slot.name} to stop itself", lambda: state_of(process) == "T"):
            return f"{slot.name} did not stop at {rule}"
        began = time.monotonic()
        wait_for("its transaction to be ended by the broker", lambda: time.monotonic() - began > 21)
        self.resume(process)
        why = self.fleet.goes_on(slot.stage, tasks)
        return why or (f"{slot.name} ended; it had only to take a new producer" if slot.process is not process else None)

    def slow(self, slot):
        """So slow a commit that the broker ends its transaction, while it stays in its group."""
        tasks = self.held(slot)
        self.fleet.kill(slot, "txn.before_commit:3:delay=21000")
        process = slot.process
        if not wait_for(f"{slot.name} to be slow", lambda: "act=delay=21000" in self.fleet.log(slot)):
            return f"{slot.name} did not come to its commit"
        self.zombies += 1
        why = self.fleet.goes_on(slot.stage, tasks)
        return why or (f"{slot.name} ended; it had only to take a new producer" if slot.process is not process else None)

    def zombies_at_once(self, turn):
        alert = self.fleet.slots["alert.0"]
        last = [(self.slow, alert), (self.halted, alert, "txn.before_commit:3:stop"), (self.halted, alert, "txn.after_offsets:3:stop"),
                (self.halted, alert, "txn.after_commit:3:stop")]
        self.together((self.displaced, self.slot("score")) if turn % 2 == 0 else (self.replaced, self.slot("score")),
                      (self.replaced, self.slot("terminal")) if turn % 2 == 0 else (self.displaced, self.slot("customer")),
                      last[turn % len(last)])

    # ---- the broker, scaling

    def broker(self):
        """kill -9 of the only broker, and the same again on its data. Who starts without one ends: so not before all have started."""
        slots = [s for s in self.fleet.slots.values() if s.wanted]
        if not wait_for("every process to have started", lambda: all(map(self.fleet.has_started, slots))):
            return "not every process had started"
        folder = os.environ["KAFKA_DIR"]
        pid = int(open(f"{folder}/pid").read())
        os.kill(pid, signal.SIGKILL)
        wait_for("the broker to be gone", lambda: not os.path.exists(f"/proc/{pid}"))  # until then it seems to run
        done = subprocess.run(["deploy/local/kafka", "start"], capture_output=True, text=True, timeout=300,
                              env=dict(os.environ, KAFKA_EXTRA="test/fault/broker.properties"))
        if done.returncode != 0 or done.stdout.strip() != BROKERS:
            return f"the broker did not come back at {BROKERS}: {done.stdout} {done.stderr}"
        self.brokers += 1
        for stage in ("customer", "terminal", "score", "alert"):
            why = self.fleet.goes_on(stage, seconds=120)
            if why:
                return f"after the broker's restart: {why}"

    def holders(self, stage):
        return {i: t for i, t in self.fleet.tasks(stage).items() if t}

    def scale(self, stage):
        """1 -> 3 -> 1; the first dies in the middle of its revoke."""
        first = self.fleet.slots[f"{stage}.0"]
        self.fleet.kill(first, "log.revoking:1:kill")
        with self.fleet.lock:
            first.expected.add(first.process)
        wait_for(f"{stage}.0 to have all tasks", lambda: len(self.holders(stage).get(0, [])) == PARTITIONS)
        self.fleet.goes_on(stage)
        more = [self.fleet.start(stage, i) for i in (1, 2)]
        if not wait_for(f"three of {stage} to have tasks", lambda: len(self.holders(stage)) == 3):
            return f"{stage}: {self.holders(stage)}, three were to have tasks"
        self.reached += ["log.revoking"] * self.fleet.log(first).count("point=log.revoking ")
        why = self.fleet.goes_on(stage)
        statuses = [self.fleet.retire(s) for s in more]
        if any(statuses):
            why = why or f"{stage}: two were told to end, and ended with {statuses}"
        if not wait_for(f"{stage}.0 to have all tasks again", lambda: len(self.holders(stage).get(0, [])) == PARTITIONS):
            why = why or f"{stage}: {self.holders(stage)}, the first was to have all tasks again"
        self.scalings += 1
        return why or self.fleet.goes_on(stage)

    # ---- all of it

    def all(self):
        plan = self.plan
        steps = [(self.kill,)] * plan.kills + [(self.points,)] * plan.points + [(self.broker,)] * plan.brokers
        steps += [(self.zombies_at_once, turn) for turn in range(plan.seed, plan.seed + plan.zombies)]
        steps += [(self.scale, SCALED[turn % len(SCALED)]) for turn in range(plan.scalings)]
        self.rand.shuffle(steps)
        for what, *args in steps:
            began = time.monotonic()
            if what == self.kill:
                args = [self.slot(self.rand.choice([*WRITES, *WRITES, "alert", "learn"]))]
            self.together((what, *args))
            print(f"{what.__name__} {[getattr(a, 'name', a) for a in args]} {time.monotonic() - began:.1f} s", flush=True)


def latencies(kills, moments):
    """Seconds from each kill to the next output of that slot that the live reader saw."""
    out = []
    for stage, tasks, at, started in kills:
        seen = [s for t in tasks for appended, s in moments.get((WRITES.get(stage), t), []) if appended >= started]
        if seen:
            out.append((min(seen) - at) / 1000)
    return sorted(out)


def percentile(values, share):
    """The least that so large a share of the sorted values does not exceed."""
    return values[math.ceil(len(values) * share) - 1]
