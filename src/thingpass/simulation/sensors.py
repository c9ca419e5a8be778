"""What a device measures: a room with its day, a battery that drains, a door that opens.

`Sensors.read(at_s)` is a pure function of seed, device and time. The shapes are those of real buildings: the
temperature follows the sun two hours late, humidity goes against it, doors open by day more than by night.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from thingpass.simulation.chance import between, drift, fraction, mix

DAY_S: Final = 86_400.0
DOOR_CELL_S: Final = 900.0  # in each quarter of an hour a door opens at most once
_WARMEST_AT_S: Final = 14 * 3600.0

LOWEST_TEMPERATURE: Final = -10.0
HIGHEST_TEMPERATURE: Final = 50.0
LOWEST_HUMIDITY: Final = 10.0
HIGHEST_HUMIDITY: Final = 95.0


class Reading(msgspec.Struct, frozen=True):
    """One measurement; the names are the keys of its telemetry."""

    temperature: float  # degrees Celsius
    humidity: float  # percent
    battery: float  # percent
    door_open: bool


class Sensors(msgspec.Struct, frozen=True):
    """The sensors of one device: what sets this room apart from the others."""

    seed: int
    mean_temperature: float
    day_swing: float  # half of what lies between a day's coldest and warmest moment
    phase_s: float  # some rooms see the sun early
    battery_life_s: float
    battery_age_s: float  # how far it was drained at the beginning of time
    doors_a_day: float

    def read(self, at_s: float) -> Reading:
        """`at_s`: seconds since 1970 (any time will do)."""
        swing = self.day_swing * math.cos(2 * math.pi * (at_s - _WARMEST_AT_S - self.phase_s) / DAY_S)
        weather = 1.5 * drift(mix(self.seed, 1), at_s, 5_400.0)
        noise = 0.1 * drift(mix(self.seed, 2), at_s, 5.0)
        open_now = self.is_door_open(at_s)
        warmth = swing + weather + noise - (0.6 if open_now else 0.0)
        humidity = 50.0 - 2.0 * (swing + weather) + 4.0 * drift(mix(self.seed, 3), at_s, 1_800.0)
        return Reading(
            temperature=round(
                _within(self.mean_temperature + warmth, LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE), 2
            ),
            humidity=round(_within(humidity, LOWEST_HUMIDITY, HIGHEST_HUMIDITY), 1),
            battery=self.battery(at_s),
            door_open=open_now,
        )

    def battery(self, at_s: float) -> float:
        """Drains evenly; the one that is empty is replaced by a full one."""
        used = ((at_s + self.battery_age_s) % self.battery_life_s) / self.battery_life_s
        return round(100.0 * (1.0 - used), 2)

    def is_door_open(self, at_s: float) -> bool:
        cell, within_s = divmod(at_s, DOOR_CELL_S)
        number = int(cell)
        hour = (at_s % DAY_S) / 3600
        by_day = 1.6 if 7 <= hour < 19 else 0.4  # the mean of a day is 1
        if fraction(self.seed, 4, number) >= self.doors_a_day * by_day * DOOR_CELL_S / DAY_S:
            return False
        opened_at = between(0.0, DOOR_CELL_S - 180.0, self.seed, 5, number)
        return opened_at <= within_s < opened_at + between(5.0, 180.0, self.seed, 6, number)


def make_sensors(seed: int, number: int) -> Sensors:
    """The sensors of the fleet's device `number`."""
    own = mix(seed, number)
    battery_life_s = between(30, 365, own, 10) * DAY_S
    return Sensors(
        seed=own,
        mean_temperature=between(16.0, 26.0, own, 11),
        day_swing=between(1.0, 6.0, own, 12),
        phase_s=between(-7_200.0, 7_200.0, own, 13),
        battery_life_s=battery_life_s,
        battery_age_s=between(0.0, battery_life_s, own, 14),
        doors_a_day=between(2.0, 40.0, own, 15),
    )


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
