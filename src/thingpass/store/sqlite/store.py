"""`SqliteStore`: the embedded store as one object."""

from __future__ import annotations

from pathlib import Path

from thingpass.clock import Clock, SystemClock
from thingpass.errors import Unavailable
from thingpass.store.sqlite.attributes import Attributes
from thingpass.store.sqlite.claims import Claims
from thingpass.store.sqlite.credentials import CredentialRows
from thingpass.store.sqlite.customers import Customers
from thingpass.store.sqlite.database import Database
from thingpass.store.sqlite.device_events import DeviceEvents
from thingpass.store.sqlite.device_states import DeviceStates
from thingpass.store.sqlite.devices import Devices
from thingpass.store.sqlite.directory import DATABASE, DirectoryLock, prepare_directory
from thingpass.store.sqlite.ota_packages import OtaPackages
from thingpass.store.sqlite.ota_rollouts import OtaRollouts
from thingpass.store.sqlite.package_files import PackageFiles
from thingpass.store.sqlite.profiles import Profiles
from thingpass.store.sqlite.rpc_calls import RpcCalls
from thingpass.store.sqlite.series import Series
from thingpass.store.sqlite.tenants import Tenants
from thingpass.store.sqlite.users import Users


class SqliteStore(
    Series,
    Tenants,
    Users,
    Customers,
    Profiles,
    Devices,
    CredentialRows,
    Claims,
    Attributes,
    OtaPackages,
    OtaRollouts,
    DeviceStates,
    DeviceEvents,
    RpcCalls,
):
    """Everything in one directory; see `store.store.Store` for what the methods promise.

    `synchronous`: "full" makes a write that returned survive power loss, "normal" only `kill -9`.
    `unfolded_messages` bounds the samples that are kept in memory until they are folded into series.db;
    when it is reached, `append_samples` waits. Samples are folded when half of that has gathered, or after
    `fold_after_s`.
    """

    answers_at_once = True

    def __init__(
        self,
        directory: Path,
        *,
        synchronous: str = "full",
        unfolded_messages: int = 200_000,
        fold_after_s: float = 600.0,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        super().__init__(
            Database(directory / DATABASE, synchronous=synchronous),
            directory,
            self._clock,
            unfolded_messages=unfolded_messages,
            fold_after_s=fold_after_s,
        )
        self._files = PackageFiles(directory)
        self._directory = directory
        self._lock = DirectoryLock(directory)

    async def open(self) -> None:
        prepare_directory(self._directory)
        self._lock.acquire()
        try:
            self._database.open()
            self.open_packages()
            await self.open_series()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self.close_series()
        await self._files.close()
        await self._database.close()
        self._lock.release()

    async def check(self) -> None:
        """Raises Unavailable when a write cannot be stored now, or when folding fails.

        A commit of the last second is proof enough, so that asking often costs nothing.
        """
        if self.folding_fault is not None:
            raise Unavailable(
                f"Folding fails: {self.folding_fault.sentence}",
                mend=self.folding_fault.mend,
                code="store-folding",
            )
        await self._database.check_writing(self._clock.now_ms())
