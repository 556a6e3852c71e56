"""The hub in memory, as a test uses it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any

from microedge.config.plan import InstancePlan
from microedge.message import Message
from microedge.method import DEFAULT_RESPONSE_TIMEOUT_S, MethodResponse
from microedge.patch import merge_patch
from microedge.sdk.testing.instance import PlayedInstance
from microedge.sdk.testing.log import LogLine
from microedge.sdk.testing.module import Module
from microedge.sdk.testing.plans import Layout, Main, Routes, Source, instance_of, layout_in, layout_of
from microedge.sdk.testing.scene import Scene
from microedge.sdk.testing.site import Site
from microedge.sdk.testing.store import DeadMessage
from microedge.twin.limits import DESIRED, check_document
from microedge.twin.twin import Twin


class Hub:
    """A hub, its upstream and one module or several, in memory and in virtual time. Use it in a `with` statement.

    With one module, the verbs of `Module` are the hub's own, too. Leaving the block asks the modules to stop, as the
    supervisor does, and fails if one does not; afterwards no thread, descriptor or file is left.
    """

    def __init__(
        self,
        module: Source | None = None,
        *,
        name: str = "",
        desired: Mapping[str, Any] | None = None,
        inputs: Sequence[str] = (),
        outputs: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        routes: Routes | None = None,
        patience_s: float = 10.0,
    ) -> None:
        """`module` and what belongs to it is as for `add`; it starts with the block.

        `routes` are texts, or names with texts or tables as in `[routes]`; without any, everything goes upstream.
        `patience_s` is how long, in real time, module code may go on without waiting before it counts as hung.

        Raises:
            RouteSyntaxError: a route does not follow the grammar.
        """
        self._modules: dict[str, Module] = {}
        self._patience_s = patience_s
        self._data_dir = ""
        self._first: list[Callable[[], object]] = []
        self._lay_out(layout_of(routes))
        if module is not None:
            add = partial(self.add, module, name=name, desired=desired, inputs=inputs, outputs=outputs, env=env)
            self._first.append(add)

    @classmethod
    def configured(cls, file: str | os.PathLike[str], *, patience_s: float = 10.0) -> Hub:
        """Return a hub with all that a microedge.toml says: the instances that it starts, their settings, its routes.

        What it says of the upstream, the state directory and the size of the store is left aside.

        Raises:
            ConfigError: something in it is wrong.
            ModuleImageError: an image that it names, or one in its modules directory, cannot be used.
        """
        hub = cls(patience_s=patience_s)
        hub._lay_out(layout_in(file))
        return hub

    def __enter__(self) -> Hub:
        __tracebackhide__ = True
        self._data_dir = tempfile.mkdtemp(prefix="microedge-test-")
        self._site.open()
        try:
            for add in self._first:
                add()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        __tracebackhide__ = True
        try:
            if error is None:
                self.stop()
        finally:
            self._close()

    def __getitem__(self, name: str) -> Module:
        return self._modules[name]

    def add(
        self,
        module: Source,
        *,
        name: str = "",
        desired: Mapping[str, Any] | None = None,
        inputs: Sequence[str] = (),
        outputs: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> Module:
        """Add a module and run it to its first wait. To be called within the block.

        `module` is the directory of an image, the name of a bundled one, or a `main` function; only the last needs
        `inputs` and `outputs`. `name` is that of the instance, by default the image's. `desired` goes over the
        defaults of the manifest. An exception of the module comes out of this.

        Raises:
            ModuleImageError: the directory or its manifest is wrong.
            TwinError: the desired properties break a limit.
            ValueError: there is such an instance already.
        """
        __tracebackhide__ = True
        one = instance_of(module, name, (inputs, outputs), desired or {}, env or {})
        return self._add(one, module if callable(module) else None)

    # --- Time, and the way up ---

    @property
    def elapsed_s(self) -> float:
        """Virtual seconds since the hub began."""
        return self._site.elapsed_s

    @property
    def upstream(self) -> list[Message]:
        """What has gone upstream, in order."""
        return self._site.upstream.taken

    @property
    def dead(self) -> list[DeadMessage]:
        """What was set aside after five failures, oldest first."""
        return self._site.queue.dead()

    @property
    def dropped(self) -> dict[str, int]:
        """How many messages left without being delivered, by reason: no_route, ttl, poison."""
        return self._site.dropped()

    def advance(self, seconds: float) -> None:
        """Let virtual time pass, from one event to the next; everything that falls due happens, in order.

        Raises:
            ValueError: `seconds` is below 0.
        """
        __tracebackhide__ = True
        if seconds < 0:
            raise ValueError(f"advance({seconds!r}): expected 0 seconds or more")
        self._site.work(lambda: self._site.let_pass(seconds))

    def go_offline(self) -> None:
        """Take the upstream away; what is for it waits, and counts as committed to the card after 5 s."""
        self._site.work(lambda: self._site.set_online(False))

    def go_online(self) -> None:
        """Bring the upstream back."""
        self._site.work(lambda: self._site.set_online(True))

    def stop(self) -> None:
        """Ask every module to stop, as the supervisor does, and let the time pass that it takes.

        Raises:
            AssertionError: one does not return from `main` within its `stop_timeout_s`; says where it is.
        """
        __tracebackhide__ = True
        self._site.work(self._site.stop)

    def restart(self) -> None:
        """Start every module anew that has ended, after asking those to stop that have not; twin and data stay."""
        __tracebackhide__ = True
        self.stop()
        for module in self._modules.values():
            module._start(self._patience_s)
        self._site.work()

    # --- The verbs of the only module ---

    @property
    def desired(self) -> dict[str, Any]:
        """See `Module.desired`."""
        return self._only.desired

    @property
    def reported(self) -> dict[str, Any]:
        """See `Module.reported`."""
        return self._only.reported

    @property
    def log(self) -> list[LogLine]:
        """See `Module.log`."""
        return self._only.log

    @property
    def exit_code(self) -> int | None:
        """See `Module.exit_code`."""
        return self._only.exit_code

    def send(
        self,
        input_name: str,
        body: object,
        *,
        properties: dict[str, str] | None = None,
        content_type: str | None = None,
        sender: str = "test/out",
    ) -> None:
        """See `Module.send`."""
        __tracebackhide__ = True
        self._only.send(input_name, body, properties=properties, content_type=content_type, sender=sender)

    def take(self, output: str) -> Message:
        """See `Module.take`."""
        __tracebackhide__ = True
        return self._only.take(output)

    def take_all(self, output: str) -> list[Message]:
        """See `Module.take_all`."""
        return self._only.take_all(output)

    def call(
        self, method: str, payload: object = None, timeout_s: float = DEFAULT_RESPONSE_TIMEOUT_S
    ) -> MethodResponse:
        """See `Module.call`."""
        __tracebackhide__ = True
        return self._only.call(method, payload, timeout_s)

    def set_desired(self, patch: Mapping[str, Any]) -> None:
        """See `Module.set_desired`."""
        __tracebackhide__ = True
        self._only.set_desired(patch)

    @property
    def _only(self) -> Module:
        if len(self._modules) != 1:
            known = ", ".join(self._modules) or "none"
            raise LookupError(f'this hub has {len(self._modules)} modules: {known}; say which: hub["NAME"]')
        return next(iter(self._modules.values()))

    def _lay_out(self, layout: Layout) -> None:
        self._site = Site(layout)
        self._first = [partial(self._add, one, None) for one in layout.instances]

    def _add(self, one: InstancePlan, main: Main | None) -> Module:
        __tracebackhide__ = True
        if one.name in self._modules:
            raise ValueError(f"name = {one.name!r}: expected another one; this hub has that already")
        log: list[LogLine] = []
        data_dir, image = os.path.join(self._data_dir, one.name), one.image
        twin = self._twin(one)
        os.makedirs(data_dir)
        scene = Scene(image.name, (image.directory, data_dir), one.env, lambda line: log.append(LogLine.parse(line)))
        instance = PlayedInstance(one, main, twin, scene)
        self._modules[one.name] = added = Module(self._site, instance, log, data_dir)
        self._site.add(instance)
        instance.start(self._site.clock, data_dir, self._patience_s)
        self._site.work()
        return added

    def _twin(self, one: InstancePlan) -> Twin:
        configured = one.config.desired if one.config is not None else {}
        check_document(configured, DESIRED)
        check_document(merge_patch(one.image.desired, configured), DESIRED)
        twin = Twin(self._site.device, one.name)
        twin.reconcile(one.image.desired, configured, self._site.clock.wall_ms)
        return twin

    def _close(self) -> None:
        try:
            self._site.close()
        finally:
            shutil.rmtree(self._data_dir, ignore_errors=True)
