"""Device profiles, as far as clients must read them (rest-api reference 4.1, 4.2)."""

from __future__ import annotations

from tests.integration.api.assertions import assert_error, assert_page
from tests.integration.api.conftest import Api


async def test_default_profile_is_the_one_that_new_devices_get(api: Api):
    device = await api.add_device()
    info = (await api.admin.get("/api/deviceProfileInfo/default")).json()
    assert info == {
        "id": device["deviceProfileId"],
        "name": "default",
        "image": None,
        "defaultDashboardId": None,
        "type": "DEFAULT",
        "transportType": "DEFAULT",
        "tenantId": {"entityType": "TENANT", "id": api.tenant.id},
    }
    by_id = await api.admin.get(f"/api/deviceProfileInfo/{info['id']['id']}")
    assert by_id.json() == info


async def test_profile_of_another_tenant_is_not_found(api: Api):
    theirs = await api.services.store.get_default_profile(api.other_tenant.id)
    answer = await api.admin.get(f"/api/deviceProfileInfo/{theirs.id}")
    assert_error(answer, 404, 32, f"Device profile with id [{theirs.id}] is not found")
    assert_error(await api.admin.get("/api/deviceProfileInfo/xyz"), 400, 31, "Invalid UUID string: xyz")


async def test_pages_of_profiles(api: Api):
    for name in ("b", "c", "a"):
        await api.add_device(f"Device {name}", type=name)
    path = "/api/deviceProfileInfos?pageSize=3&page={}&sortProperty=name&sortOrder=ASC"
    assert_page(await api.admin.get(path.format(0)), ["a", "b", "c"], total=4, pages=2, has_next=True)
    assert_page(await api.admin.get(path.format(1)), ["default"], total=4, pages=2, has_next=False)
    found = await api.admin.get(path.format(0) + "&textSearch=DEF")
    assert_page(found, ["default"], total=1, pages=1, has_next=False)
    assert_error(await api.admin.get("/api/deviceProfileInfos?pageSize=3"), 400, 31)
