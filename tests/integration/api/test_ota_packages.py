"""Firmware and software packages by REST (rest-api reference, 3.9 and 8.2)."""

from __future__ import annotations

import base64
import hashlib

import httpx
import pytest

from tests.integration.api.assertions import assert_error
from tests.integration.api.conftest import Api
from thingpass.store.rows import OTA_FIRMWARE, OtaPackage

SOME_ID = "784f394c-42b6-435a-983c-b7beff2784f9"
IMAGE = bytes(range(256)) * 2_500  # several blocks


async def add_package(api: Api, **members: object) -> dict[str, object]:
    body = {"title": "pump-fw", "version": "1.2.0", "type": "FIRMWARE", **members}
    answer = await api.admin.post("/api/otaPackage", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def upload(
    api: Api,
    package: dict[str, object],
    data: bytes = IMAGE,
    *,
    form: dict[str, str] | None = None,
    **query: str,
) -> httpx.Response:
    return await api.admin.post(
        f"/api/otaPackage/{package['id']['id']}",
        files={"file": ("fw 1.bin", data, "application/octet-stream")},
        data=form or {},
        params=query,
    )


async def add_whole_package(api: Api, data: bytes = b"abc", **members: object) -> dict[str, object]:
    answer = await upload(api, await add_package(api, **members), data, checksumAlgorithm="SHA256")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_package_is_added_then_uploaded(api: Api):
    profile = await api.services.store.get_default_profile(api.tenant.id)
    reference = {"entityType": "DEVICE_PROFILE", "id": profile.id}
    package = await add_package(
        api, tag="pump-fw 1.2.0", deviceProfileId=reference, additionalInfo={"description": "x"}
    )
    assert package == {
        "id": {"entityType": "OTA_PACKAGE", "id": package["id"]["id"]},
        "createdTime": api.clock.now_ms(),
        "additionalInfo": {"description": "x"},
        "tenantId": {"entityType": "TENANT", "id": api.tenant.id},
        "deviceProfileId": reference,
        "type": "FIRMWARE",
        "title": "pump-fw",
        "version": "1.2.0",
        "tag": "pump-fw 1.2.0",
        "url": None,
        "hasData": False,
        "fileName": None,
        "contentType": None,
        "checksumAlgorithm": None,
        "checksum": None,
        "dataSize": None,
        "name": "pump-fw",
        "externalId": None,
    }
    checksum = hashlib.sha256(IMAGE).hexdigest()
    whole = (await upload(api, package, form={"checksum": checksum, "checksumAlgorithm": "sha256"})).json()
    assert whole == package | {
        "hasData": True,
        "fileName": "fw 1.bin",
        "contentType": "application/octet-stream",
        "checksumAlgorithm": "SHA256",
        "checksum": checksum,
        "dataSize": len(IMAGE),
    }
    info = await api.admin.get(f"/api/otaPackage/info/{package['id']['id']}")
    assert info.json() == whole
    document = (await api.admin.get(f"/api/otaPackage/{package['id']['id']}")).json()
    assert base64.b64decode(document.pop("data")) == IMAGE
    assert document == whole


async def test_download_is_the_file(api: Api):
    package = await add_whole_package(api, IMAGE)
    answer = await api.admin.get(f"/api/otaPackage/{package['id']['id']}/download")
    assert answer.content == IMAGE
    assert answer.headers["content-length"] == str(len(IMAGE))
    assert answer.headers["content-disposition"] == "attachment;filename*=UTF-8''fw%201.bin"
    assert answer.headers["x-filename"] == "fw%201.bin"
    assert answer.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [("crc32", "c2412435"), ("MURMUR3_32", "fa93ddb3"), ("MD5", hashlib.md5(b"abc").hexdigest())],
)
async def test_checksum_is_computed_in_guavas_form(api: Api, algorithm, expected):
    answer = await upload(api, await add_package(api), b"abc", checksumAlgorithm=algorithm)
    assert (answer.json()["checksum"], answer.json()["checksumAlgorithm"]) == (expected, algorithm.upper())


async def test_wrong_checksum_is_refused_with_both(api: Api):
    package = await add_package(api)
    given = hashlib.sha256(b"other").hexdigest()
    answer = await upload(api, package, b"abc", checksumAlgorithm="SHA256", checksum=given)
    message = str(assert_error(answer, 400, 31)["message"])
    assert message.startswith("Wrong otaPackage file!")
    assert given in message
    assert hashlib.sha256(b"abc").hexdigest() in message
    assert (await upload(api, package, b"abc", checksumAlgorithm="SHA256")).status_code == 200


@pytest.mark.parametrize(
    ("data", "query", "message"),
    [
        (b"", {"checksumAlgorithm": "MD5"}, "OtaPackage data should be specified!"),
        (b"abc", {}, "Required request parameter 'checksumAlgorithm' is not present"),
        (b"abc", {"checksumAlgorithm": "SHA1"}, "Unknown checksum algorithm 'SHA1'."),
    ],
)
async def test_upload_that_cannot_be(api: Api, data, query, message):
    assert_error(await upload(api, await add_package(api), data, **query), 400, 31, message)


async def test_upload_without_a_form_or_a_file(api: Api):
    path = f"/api/otaPackage/{(await add_package(api))['id']['id']}"
    assert_error(await api.admin.post(path, json={"a": 1}), 400, 31)
    form = await api.admin.post(path, files={"other": ("x", b"abc")})
    assert_error(form, 400, 31, "Required request part 'file' is not present")


async def test_data_is_uploaded_once(api: Api):
    package = await add_whole_package(api)
    answer = await upload(api, package, b"other", checksumAlgorithm="MD5")
    assert_error(answer, 400, 31, "Updating otaPackage data is prohibited!")


async def test_file_beyond_the_setting_is_refused_whatever_was_declared(api: Api):
    package = await add_package(api)
    limit = api.services.ota.packages.maximum_bytes
    assert (await upload(api, package, bytes(limit + 1), checksumAlgorithm="MD5")).status_code == 413
    assert (await upload(api, package, bytes(limit + 100_000), checksumAlgorithm="MD5")).status_code == 413

    async def body():
        yield b'--B\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
        for _ in range(20):
            yield bytes(100_000)

    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    path = f"/api/otaPackage/{package['id']['id']}"
    assert (await api.admin.post(path, content=body(), headers=headers)).status_code == 413
    assert not list((api.services.data_dir / "ota").iterdir())
    assert (await upload(api, package, bytes(limit), checksumAlgorithm="MD5")).status_code == 200


async def test_package_at_a_url(api: Api):
    package = await add_package(api, url="https://example.org/fw.bin", usesUrl=True)
    assert (package["url"], package["hasData"]) == ("https://example.org/fw.bin", False)
    path = f"/api/otaPackage/{package['id']['id']}"
    assert_error(await api.admin.get(f"{path}/download"), 400, 31)
    assert (await api.admin.get(path)).json()["data"] is None
    answer = await upload(api, package, checksumAlgorithm="MD5")
    assert_error(answer, 400, 31, "Updating otaPackage data is prohibited!")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"title": " "}, "OtaPackage title should be specified!"),
        ({"version": ""}, "OtaPackage version should be specified!"),
        ({"type": None}, "Type should be specified!"),
        ({"type": "HARDWARE"}, "Type should be specified!"),
        ({"usesUrl": True}, "Ota package URL should be specified!"),
        ({"title": "a\nb"}, "Validation error: title is malformed"),
        ({"deviceProfileId": {"id": SOME_ID}}, "OtaPackage is referencing to non-existent device profile!"),
    ],
)
async def test_package_that_cannot_be(api: Api, members, message):
    body = {"title": "pump-fw", "version": "1.2.0", "type": "FIRMWARE"} | members
    assert_error(await api.admin.post("/api/otaPackage", json=body), 400, 31, message)


async def test_title_and_version_are_taken_once(api: Api):
    await add_package(api)
    answer = await api.admin.post(
        "/api/otaPackage", json={"title": "pump-fw", "version": "1.2.0", "type": "SOFTWARE"}
    )
    assert_error(answer, 400, 31, "OtaPackage with such title and version already exists!")


async def test_only_the_description_changes(api: Api):
    package = await add_package(api)
    answer = await api.admin.post("/api/otaPackage", json=package | {"additionalInfo": {"a": 1}})
    assert answer.json() == package | {"additionalInfo": {"a": 1}}
    for member, name in (("title", "title"), ("version", "version"), ("tag", "tag")):
        changed = await api.admin.post("/api/otaPackage", json=package | {member: "other"})
        assert_error(changed, 400, 31, f"Updating otaPackage {name} is prohibited!")


async def test_pages(api: Api):
    profile = await api.services.store.get_default_profile(api.tenant.id)
    for version in ("1", "2", "3"):
        await add_whole_package(api, version=version)
    await add_package(api, title="app", type="SOFTWARE")
    query = {"pageSize": 2, "page": 0, "sortProperty": "version", "sortOrder": "DESC"}
    page = (await api.admin.get("/api/otaPackages", params=query)).json()
    assert [row["version"] for row in page["data"]] == ["3", "2"]
    assert (page["totalElements"], page["hasNext"]) == (4, True)
    path = f"/api/otaPackages/{profile.id}"
    assert (await api.admin.get(f"{path}/FIRMWARE", params=query)).json()["totalElements"] == 3
    assert (await api.admin.get(f"{path}/SOFTWARE", params=query)).json()["totalElements"] == 0
    assert_error(await api.admin.get(f"{path}/HARDWARE", params=query), 400, 31)
    assert_error(await api.admin.get("/api/otaPackages", params=query | {"sortProperty": "label"}), 400, 31)


async def test_package_of_another_tenant_is_not_found(api: Api):
    foreign = await api.services.ota.packages.add(
        api.other_tenant.id,
        OtaPackage(
            id="", created_at_ms=0, tenant_id="", profile_id=None, kind=OTA_FIRMWARE, title="x", version="1"
        ),
    )
    for method, path in (
        ("GET", "/api/otaPackage/{}"),
        ("GET", "/api/otaPackage/info/{}"),
        ("GET", "/api/otaPackage/{}/download"),
        ("DELETE", "/api/otaPackage/{}"),
        ("POST", "/api/otaPackage/{}"),
    ):
        texts = []
        for package_id in (foreign.id, SOME_ID):
            answer = await api.admin.request(method, path.format(package_id))
            assert_error(answer, 404, 32, f"Ota package with id [{package_id}] is not found")
            texts.append(answer.text.replace(package_id, "ID"))
        assert texts[0] == texts[1]
    answer = await api.admin.post("/api/device", json={"name": "P", "firmwareId": {"id": foreign.id}})
    assert_error(answer, 400, 31, "Can't assign non-existent firmware!")
    assert (await api.services.store.find_ota_package(foreign.id)) == foreign


async def test_device_is_given_packages_by_its_body(api: Api):
    firmware = await add_whole_package(api)
    software = await add_whole_package(api, title="app", type="SOFTWARE")
    device = await api.add_device(firmwareId=firmware["id"], softwareId=software["id"])
    assert (device["firmwareId"], device["softwareId"]) == (firmware["id"], software["id"])
    path = f"/api/otaPackage/{firmware['id']['id']}"
    answer = await api.admin.delete(path)
    assert_error(answer, 400, 31, "The otaPackage referenced by the devices cannot be deleted!")
    changed = (await api.admin.post("/api/device", json=device | {"firmwareId": None})).json()
    assert (changed["firmwareId"], changed["softwareId"]) == (None, software["id"])
    assert (await api.admin.delete(path)).status_code == 200
    assert_error(await api.admin.get(path), 404, 32)


async def test_package_that_a_device_cannot_be_given(api: Api):
    empty = await add_package(api)
    software = await add_whole_package(api, title="app", type="SOFTWARE")
    other = await api.add_device("Other", type="other")
    elsewhere = await add_whole_package(api, title="other", deviceProfileId=other["deviceProfileId"])
    device = await api.add_device()
    for package_id, message in (
        (SOME_ID, "Can't assign non-existent firmware!"),
        (empty["id"]["id"], "Can't assign firmware with empty data!"),
        (software["id"]["id"], "Can't assign firmware with type: SOFTWARE"),
        (elsewhere["id"]["id"], "Can't assign firmware with different deviceProfile!"),
    ):
        for answer in (
            await api.admin.post("/api/device", json=device | {"firmwareId": {"id": package_id}}),
            await api.admin.post("/api/device", json={"name": "New", "firmwareId": {"id": package_id}}),
            await api.admin.post(
                "/api/v2/ota/assignment",
                json={
                    "type": "FIRMWARE",
                    "packageId": package_id,
                    "deviceProfileId": device["deviceProfileId"]["id"],
                },
            ),
        ):
            assert_error(answer, 400, 31, message)


async def test_assignment_rollouts_and_states(api: Api):
    package = await add_whole_package(api)
    device = await api.add_device()
    profile_id = device["deviceProfileId"]["id"]
    body = {"type": "FIRMWARE", "packageId": package["id"]["id"]}
    counting = f"/api/devices/count/FIRMWARE/{profile_id}"
    assert (await api.admin.get(counting)).json() == 1
    answer = await api.admin.post("/api/v2/ota/assignment", json=body | {"deviceProfileId": profile_id})
    assert answer.status_code == 200, answer.text
    answer = await api.admin.delete(f"/api/otaPackage/{package['id']['id']}")
    assert_error(answer, 400, 31, "The otaPackage referenced by the device profile cannot be deleted!")
    while await api.services.ota.rollouts.step() is not None:
        pass
    [rollout] = (await api.admin.get("/api/v2/ota/rollouts")).json()["data"]
    assert rollout["packageId"] == package["id"]
    assert (rollout["devices"], rollout["done"], rollout["told"]) == (1, 1, 1)
    assert rollout["endedAtMs"] == api.clock.now_ms()
    query = {"type": "FIRMWARE", "pageSize": 10, "page": 0, "deviceProfileId": profile_id}
    [state] = (await api.admin.get("/api/v2/ota/states", params=query)).json()["data"]
    assert (state["deviceName"], state["title"], state["version"]) == ("Pump 1", "pump-fw", "1.2.0")
    assert (state["state"], state["currentTitle"], state["error"]) == ("INITIATED", None, None)
    answer = await api.admin.post("/api/v2/ota/assignment", json=body | {"deviceId": device["id"]["id"]})
    assert answer.status_code == 200, answer.text
    assert (await api.admin.get(counting)).json() == 0


async def test_assignment_that_cannot_be(api: Api):
    device = await api.add_device()
    foreign = await api.add_foreign_device()
    for body, status in (
        ({"type": "FIRMWARE"}, 400),
        ({"type": "HARDWARE", "deviceId": SOME_ID}, 400),
        ({"type": "FIRMWARE", "deviceId": SOME_ID, "deviceProfileId": SOME_ID}, 400),
        ({"type": "FIRMWARE", "deviceId": "x"}, 400),
        ({"type": "FIRMWARE", "deviceId": SOME_ID}, 404),
        ({"type": "FIRMWARE", "deviceId": foreign.id}, 404),
        ({"type": "FIRMWARE", "deviceProfileId": SOME_ID}, 404),
        ({"type": "FIRMWARE", "deviceProfileId": foreign.profile_id}, 404),
        ({"type": "FIRMWARE", "deviceId": device["id"]["id"]}, 200),
    ):
        answer = await api.admin.post("/api/v2/ota/assignment", json=body)
        assert answer.status_code == status, (body, answer.text)
