"""JSON of firmware and software: ThingsBoard's package (rest-api reference 8.2), and this server's own."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from thingpass.api.thingsboard_shapes import EntityId, Milliseconds, Name, Shape, TypeName
from thingpass.devices.ota_states import DeviceOtaState
from thingpass.store.rows import OtaPackage, OtaRollout

Kind = Annotated[str, Meta(examples=["FIRMWARE"])]
Title = Annotated[str, Meta(examples=["pump-fw"])]
Version = Annotated[str, Meta(examples=["1.2.0"])]


class OtaPackageShape(Shape, frozen=True):
    """`name` is the title: ThingsBoard's objects have one. Without data, what describes it is null."""

    id: EntityId
    created_time: Milliseconds
    additional_info: msgspec.Raw | None
    tenant_id: EntityId
    device_profile_id: EntityId | None
    type: Kind
    title: Title
    version: Version
    tag: str | None
    url: str | None
    has_data: bool
    file_name: Annotated[str, Meta(examples=["fw.bin"])] | None
    content_type: str | None
    checksum_algorithm: Annotated[str, Meta(examples=["SHA256"])] | None
    checksum: str | None
    data_size: int | None
    name: Title
    external_id: EntityId | None = None


class OtaRolloutShape(Shape, frozen=True):
    """A profile's package on its way to the profile's devices."""

    id: int
    device_profile_id: EntityId
    device_profile_name: TypeName
    type: Kind
    package_id: EntityId | None
    created_at_ms: Milliseconds
    ended_at_ms: Milliseconds | None
    devices: Annotated[int, Meta(description="how many there are to look at")] | None
    done: Annotated[int, Meta(description="how many were looked at")]
    told: Annotated[int, Meta(description="how many of them had to be told")]


class OtaRolloutsShape(Shape, frozen=True):
    data: list[OtaRolloutShape]


class OtaStateShape(Shape, frozen=True):
    """What a device is to run, what it says that it runs, and how far it is in between."""

    device_id: EntityId
    device_name: Name
    title: Title | None
    version: Version | None
    current_title: Title | None
    current_version: Version | None
    state: Annotated[str, Meta(examples=["DOWNLOADING"])] | None
    state_at_ms: Milliseconds | None
    error: str | None


def ota_package_shape(package: OtaPackage) -> OtaPackageShape:
    data, info = package.data, package.additional_info_json
    return OtaPackageShape(
        id=EntityId(entity_type="OTA_PACKAGE", id=package.id),
        created_time=package.created_at_ms,
        additional_info=None if info is None else msgspec.Raw(info.encode()),
        tenant_id=EntityId(entity_type="TENANT", id=package.tenant_id),
        device_profile_id=_id("DEVICE_PROFILE", package.profile_id),
        type=package.kind,
        title=package.title,
        version=package.version,
        tag=package.tag,
        url=package.url,
        has_data=data is not None,
        file_name=None if data is None else data.file_name,
        content_type=None if data is None else data.content_type,
        checksum_algorithm=None if data is None else data.algorithm,
        checksum=None if data is None else data.checksum,
        data_size=None if data is None else data.size,
        name=package.title,
    )


def ota_rollout_shape(rollout: OtaRollout) -> OtaRolloutShape:
    return OtaRolloutShape(
        id=rollout.id,
        device_profile_id=EntityId(entity_type="DEVICE_PROFILE", id=rollout.profile_id),
        device_profile_name=rollout.profile_name,
        type=rollout.kind,
        package_id=_id("OTA_PACKAGE", rollout.package_id),
        created_at_ms=rollout.created_at_ms,
        ended_at_ms=rollout.ended_at_ms,
        devices=rollout.devices,
        done=rollout.done,
        told=rollout.told,
    )


def ota_state_shape(state: DeviceOtaState) -> OtaStateShape:
    package = state.package
    return OtaStateShape(
        device_id=EntityId(entity_type="DEVICE", id=state.device.id),
        device_name=state.device.name,
        title=None if package is None else package.title,
        version=None if package is None else package.version,
        current_title=state.current_title,
        current_version=state.current_version,
        state=state.state,
        state_at_ms=state.state_at_ms,
        error=state.error,
    )


def _id(entity_type: str, id_: str | None) -> EntityId | None:
    return None if id_ is None else EntityId(entity_type=entity_type, id=id_)
