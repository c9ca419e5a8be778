"""Customers, their users and devices, and claiming by REST (rest-api reference 3.2, 3.6, 7.1, 7.2)."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import msgspec
import pytest

from tests.integration.api.assertions import assert_error, assert_page
from tests.integration.api.conftest import ADMINISTRATOR, Api
from tests.integration.api.test_authorization import SOME_ID, concrete
from tests.integration.api.test_ota_packages import add_whole_package
from thingpass.api.authorization import RULES, Role
from thingpass.api.tokens import NULL_UUID
from thingpass.devices.claiming import FAILURES_PER_DEVICE
from thingpass.store.rows import Customer, RpcCall, User

NO_PERMISSION = "You don't have permission to perform this operation!"


@dataclass
class Clerk:
    """A customer, one of its users as a client, and a device that the customer has."""

    customer: dict
    user: User
    client: httpx.AsyncClient
    device_id: str


async def add_customer(api: Api, title: str = "ACME", **members: object) -> dict:
    answer = await api.admin.post("/api/customer", json={"title": title, **members})
    assert answer.status_code == 200, answer.text
    return answer.json()


def id_of(entity: dict) -> str:
    return str(entity["id"]["id"])


async def make_clerk(api: Api, title: str) -> Clerk:
    customer = await add_customer(api, title)
    user = User(
        id=str(uuid.uuid4()),
        created_at_ms=api.clock.now_ms(),
        tenant_id=api.tenant.id,
        authority="CUSTOMER_USER",
        email=f"clerk@{title.lower()}.example",
        password_hash="$argon2id$",
        customer_id=id_of(customer),
    )
    await api.services.store.add_user(user)
    pair = await api.application.state.authentication.begin_session(user)
    device = await api.add_device(f"Lamp of {title}")
    path = f"/api/customer/{id_of(customer)}/device/{id_of(device)}"
    assert (await api.admin.post(path)).status_code == 200
    client = api.client(X_Authorization=f"Bearer {pair.access}")
    return Clerk(customer, user, client, id_of(device))


@pytest.fixture
async def acme(api: Api) -> AsyncIterator[Clerk]:
    clerk = await make_clerk(api, "ACME")
    yield clerk
    await clerk.client.aclose()


@pytest.fixture
async def zeta(api: Api) -> AsyncIterator[Clerk]:
    clerk = await make_clerk(api, "Zeta")
    yield clerk
    await clerk.client.aclose()


class TestCustomers:
    async def test_new_customer_has_the_members_that_clients_insist_on(self, api: Api) -> None:
        made = await add_customer(api, city="杭州", additionalInfo={"a": [1]})
        assert made == {
            "id": {"entityType": "CUSTOMER", "id": id_of(made)},
            "createdTime": api.clock.now_ms(),
            "tenantId": {"entityType": "TENANT", "id": api.tenant.id},
            "title": "ACME",
            "name": "ACME",
            **dict.fromkeys(("email", "phone", "country", "state", "address", "address2", "zip")),
            "city": "杭州",
            "additionalInfo": {"a": [1]},
            "version": 1,
            "externalId": None,
        }
        path = f"/api/customer/{id_of(made)}"
        assert (await api.admin.get(path)).json() == made
        assert (await api.admin.get(f"{path}/shortInfo")).json() == {"title": "ACME", "isPublic": False}
        assert (await api.admin.get(f"{path}/title")).text == "ACME"
        assert (await api.admin.get("/api/tenant/customers", params={"customerTitle": "ACME"})).json() == made
        found = await api.admin.get("/api/tenant/customers", params={"customerTitle": "acme"})
        assert_error(found, 404, 32, "Requested item wasn't found!")

    async def test_update_takes_away_what_is_left_out_and_knows_its_version(self, api: Api) -> None:
        made = await add_customer(api, city="x")
        changed = await add_customer(api, "Acme", id=made["id"], version=1)
        assert (changed["title"], changed["city"], changed["version"]) == ("Acme", None, 2)
        stale = {"title": "A", "id": made["id"], "version": 1}
        assert_error(await api.admin.post("/api/customer", json=stale), 409, 35)

    async def test_what_is_refused(self, api: Api) -> None:
        await add_customer(api)
        for body, message in (
            ({}, "Customer title should be specified!"),
            ({"title": "Public"}, "'Public' title for customer is system reserved!"),
            ({"title": "ACME"}, "Customer with such title already exists!"),
        ):
            assert_error(await api.admin.post("/api/customer", json=body), 400, 31, message)
        unknown = {"title": "x", "id": {"id": SOME_ID}}
        message = f"Customer with id [{SOME_ID}] is not found"
        assert_error(await api.admin.post("/api/customer", json=unknown), 404, 32, message)

    async def test_pages_and_arrays(self, api: Api) -> None:
        made = [await add_customer(api, title) for title in ("b", "A", "c")]
        query = {"pageSize": 2, "page": 0, "sortProperty": "title"}
        answer = await api.admin.get("/api/customers", params=query)
        assert_page(answer, ["A", "b"], total=3, pages=2, has_next=True)
        answer = await api.admin.get("/api/customers", params={**query, "textSearch": "C"})
        assert_page(answer, ["c"], total=1, pages=1, has_next=False)
        ids = f"{id_of(made[1])},{SOME_ID}"
        for path in ("/api/customers", "/api/customers/list"):
            assert (await api.admin.get(path, params={"customerIds": ids})).json() == [made[1]]
        wrong = await api.admin.get("/api/customers", params={**query, "sortProperty": "label"})
        assert_error(wrong, 400, 31, "Invalid sort property")

    async def test_removed_customer_leaves_its_devices_and_its_users_are_out(
        self, api: Api, acme: Clerk
    ) -> None:
        path = f"/api/customer/{id_of(acme.customer)}"
        assert (await api.admin.delete(path)).status_code == 200
        assert_error(await api.admin.get(path), 404, 32)
        device = (await api.admin.get(f"/api/device/{acme.device_id}")).json()
        assert device["customerId"] == {"entityType": "CUSTOMER", "id": NULL_UUID}
        assert_error(await acme.client.get("/api/auth/user"), 401, 11)

    async def test_another_tenants_customer_answers_as_an_unknown_one(self, api: Api) -> None:
        foreign = await api.services.customers.add(
            Customer(id="", created_at_ms=0, tenant_id=api.other_tenant.id, title="Foreign")
        )
        device = await api.add_device()
        for rule in RULES:
            if "{customerId}" in rule.path:
                texts = []
                for customer_id in (foreign.id, SOME_ID):
                    path = concrete(rule.path.replace("{deviceId}", id_of(device)))
                    path = path.replace(f"/customer/{SOME_ID}", f"/customer/{customer_id}")
                    query = {"pageSize": 1, "page": 0}
                    answer = await api.admin.request(rule.method, path, params=query)
                    assert answer.status_code == 404, rule
                    texts.append(answer.text.replace(customer_id, "ID"))
                assert texts[0] == texts[1], rule
        body = {"name": "New", "customerId": {"entityType": "CUSTOMER", "id": foreign.id}}
        message = "Can't assign device to non-existent customer!"
        assert_error(await api.admin.post("/api/device", json=body), 400, 31, message)
        assert await api.services.store.find_customer(foreign.id) == foreign


class TestAssignment:
    async def test_device_is_given_shown_and_taken_back(self, api: Api) -> None:
        acme, device = await add_customer(api), await api.add_device()
        given = (await api.admin.post(f"/api/customer/{id_of(acme)}/device/{id_of(device)}")).json()
        assert given["customerId"] == acme["id"]
        info = (await api.admin.get(f"/api/device/info/{id_of(device)}")).json()
        assert info["customerTitle"] == "ACME"
        page = {"pageSize": 9, "page": 0}
        answer = await api.admin.get(f"/api/customer/{id_of(acme)}/devices", params=page)
        assert_page(answer, ["Pump 1"], total=1, pages=1, has_next=False)
        infos = await api.admin.get(f"/api/customer/{id_of(acme)}/deviceInfos", params=page)
        assert infos.json()["data"] == [info]
        none = await api.admin.get(f"/api/customer/{id_of(acme)}/devices", params={**page, "type": "x"})
        assert_page(none, [], total=0, pages=0, has_next=False)
        path = f"/api/customer/device/{id_of(device)}"
        taken = (await api.admin.delete(path)).json()
        assert taken["customerId"]["id"] == NULL_UUID
        message = "Device isn't assigned to any customer!"
        assert_error(await api.admin.delete(path), 400, 31, message)

    async def test_saving_a_device_says_whose_it_is(self, api: Api) -> None:
        acme = await add_customer(api)
        device = await api.add_device(customerId=acme["id"])
        assert device["customerId"] == acme["id"]
        kept = (await api.admin.post("/api/device", json=device)).json()
        assert kept["customerId"] == acme["id"]
        without = {"id": device["id"], "name": "Pump 1"}
        taken = (await api.admin.post("/api/device", json=without)).json()
        assert taken["customerId"]["id"] == NULL_UUID

    async def test_the_newer_clients_way(self, api: Api) -> None:
        acme, device = await add_customer(api), await api.add_device()
        owner = "/api/owner/{}/{}/DEVICE/" + id_of(device)
        assert (await api.admin.post(owner.format("CUSTOMER", id_of(acme)))).content == b""
        stored = (await api.admin.get(f"/api/device/{id_of(device)}")).json()
        assert stored["customerId"] == acme["id"]
        for _ in range(2):
            assert (await api.admin.post(owner.format("TENANT", api.tenant.id))).status_code == 200
        for path in (owner.format("TENANT", api.other_tenant.id), owner.format("USER", SOME_ID)):
            assert_error(await api.admin.post(path), 404, 32)

    async def test_sorting_by_customer(self, api: Api, zeta: Clerk, acme: Clerk) -> None:
        query = {"pageSize": 9, "page": 0, "sortProperty": "customerTitle"}
        answer = await api.admin.get("/api/tenant/deviceInfos", params=query)
        assert [row["customerTitle"] for row in answer.json()["data"]] == ["ACME", "Zeta"]


class TestCustomersUser:
    """What a customer's user may see: its customer's devices, and no others."""

    async def test_no_route_of_administrators(self, acme: Clerk) -> None:
        for rule in RULES:
            if rule.role is Role.TENANT:
                answer = await acme.client.request(rule.method, concrete(rule.path))
                assert_error(answer, 403, 20, NO_PERMISSION)

    async def test_other_customers_devices_and_nobodys_are_refused_on_every_route(
        self, api: Api, acme: Clerk, zeta: Clerk
    ) -> None:
        nobodys = id_of(await api.add_device("Nobody's"))
        foreign = (await api.add_foreign_device()).id
        asked = 0
        for rule in RULES:
            of_device = "{deviceId}" in rule.path or "{entityId}" in rule.path
            if rule.role is not Role.TENANT_OR_CUSTOMER or not of_device:
                continue
            asked += 1
            query = {"startTs": "0", "endTs": "1"} if rule.path.endswith("history") else {}
            for device_id, status in ((zeta.device_id, 403), (nobodys, 403), (foreign, 404)):
                path = concrete(rule.path).replace(SOME_ID, device_id)
                answer = await acme.client.request(rule.method, path, params=query, content=b'{"a":1}')
                assert answer.status_code == status, (rule, answer.text)
            path = concrete(rule.path).replace(SOME_ID, acme.device_id)
            answer = await acme.client.request(rule.method, path, params=query, content=b'{"a":1}')
            assert answer.status_code in (200, 400), (rule, answer.text)
        assert asked > 10
        attributes = await api.services.attributes.find(zeta.device_id, "SERVER_SCOPE")
        assert attributes == []

    async def test_user_of_no_customer_sees_nobody_and_nothing(self, api: Api, acme: Clerk) -> None:
        """Its row cannot be made over REST; should there ever be one, it must not count as everybody's."""
        nobodys = id_of(await api.add_device("Nobody's"))
        user = msgspec.structs.replace(acme.user, id=str(uuid.uuid4()), email="x@y.z", customer_id=None)
        await api.services.store.add_user(user)
        pair = await api.application.state.authentication.begin_session(user)
        administrator = await api.services.store.find_user_by_email(ADMINISTRATOR)
        assert administrator is not None
        page = "?pageSize=9&page=0"
        async with api.client(X_Authorization=f"Bearer {pair.access}") as stray:
            for method, path in (
                ("GET", f"/api/users{page}"),
                ("GET", f"/api/user/{administrator.id}"),
                ("GET", f"/api/user/{user.id}"),
                ("GET", f"/api/customer/{id_of(acme.customer)}/devices{page}"),
                ("GET", f"/api/device/{nobodys}"),
                ("GET", f"/api/device/{acme.device_id}"),
                ("POST", "/api/customer/device/Lamp of ACME/claim"),
                ("DELETE", "/api/customer/device/Nobody's/claim"),
            ):
                assert_error(await stray.request(method, path), 403, 20, NO_PERMISSION)

    async def test_packages_are_read_but_their_files_are_not(
        self, api: Api, acme: Clerk, zeta: Clerk
    ) -> None:
        package = await add_whole_package(api)
        package_id = id_of(package)
        assert (await acme.client.get(f"/api/otaPackage/info/{package_id}")).json() == package
        profile = await api.services.store.get_default_profile(api.tenant.id)
        query = {"pageSize": 10, "page": 0}
        for path in ("/api/otaPackages", f"/api/otaPackages/{profile.id}/FIRMWARE"):
            assert (await acme.client.get(path, params=query)).json()["data"] == [package]
        counting = f"/api/devices/count/FIRMWARE/{profile.id}"
        assert (await acme.client.get(counting)).json() == 1  # its own, and not Zeta's
        assert (await api.admin.get(counting)).json() == 2
        foreign = await api.services.store.get_default_profile(api.other_tenant.id)
        answer = await acme.client.get(f"/api/devices/count/FIRMWARE/{foreign.id}")
        assert_error(answer, 404, 32, f"Device profile with id [{foreign.id}] is not found")
        for path in (f"/api/otaPackage/{package_id}", f"/api/otaPackage/{package_id}/download"):
            assert_error(await acme.client.get(path), 403, 20, NO_PERMISSION)

    async def test_own_device_is_read_and_changed_but_stays_where_it_is(self, acme: Clerk) -> None:
        device = (await acme.client.get(f"/api/device/{acme.device_id}")).json()
        changed = {**device, "label": "Hall", "customerId": {"id": NULL_UUID}}
        saved = await acme.client.post("/api/device", json=changed)
        assert saved.status_code == 200, saved.text
        assert (saved.json()["label"], saved.json()["customerId"]) == ("Hall", device["customerId"])
        new = await acme.client.post("/api/device", json={"name": "New"})
        assert_error(new, 403, 20, NO_PERMISSION)

    async def test_own_device_cannot_be_made_a_gateway(self, api: Api, acme: Clerk) -> None:
        """A gateway may write for devices that are nobody's, which the customer does not even see."""
        device = (await acme.client.get(f"/api/device/{acme.device_id}")).json()
        gateway = {**device, "additionalInfo": {"gateway": True}}
        answer = await acme.client.post("/api/device", json=gateway)
        assert "Only a tenant administrator" in str(assert_error(answer, 403, 20)["message"])
        made = (await api.admin.post("/api/device", json=gateway)).json()
        renamed = await acme.client.post("/api/device", json={**made, "label": "Hall"})  # it is one already
        assert (renamed.status_code, renamed.json()["additionalInfo"]) == (200, {"gateway": True})

    async def test_others_cannot_be_changed(self, api: Api, acme: Clerk, zeta: Clerk) -> None:
        device = (await api.admin.get(f"/api/device/{zeta.device_id}")).json()
        answer = await acme.client.post("/api/device", json={**device, "label": "mine"})
        assert_error(answer, 403, 20, NO_PERMISSION)

    async def test_kept_calls_of_other_customers_are_refused(
        self, api: Api, acme: Clerk, zeta: Clerk
    ) -> None:
        for clerk, status in ((acme, 200), (zeta, 403)):
            call = RpcCall(
                id=str(uuid.uuid4()),
                tenant_id=api.tenant.id,
                device_id=clerk.device_id,
                created_at_ms=1,
                expires_at_ms=2,
                request_id=1,
                oneway=True,
                method="m",
                params_json="1",
                retries=0,
            )
            await api.services.store.add_rpc_call(call, most_live=9)
            assert (await acme.client.get(f"/api/rpc/persistent/{call.id}")).status_code == status

    async def test_own_customer_and_its_users_and_no_others(self, api: Api, acme: Clerk, zeta: Clerk) -> None:
        page = {"pageSize": 9, "page": 0}
        for path in ("", "/shortInfo", "/title", "/devices", "/deviceInfos"):
            own = await acme.client.get(f"/api/customer/{id_of(acme.customer)}{path}", params=page)
            assert own.status_code == 200, path
            other = await acme.client.get(f"/api/customer/{id_of(zeta.customer)}{path}", params=page)
            assert_error(other, 403, 20, NO_PERMISSION)
        users = (await acme.client.get("/api/users", params=page)).json()
        assert [user["email"] for user in users["data"]] == ["clerk@acme.example"]
        assert (await acme.client.get(f"/api/user/{acme.user.id}")).json() == users["data"][0]
        assert users["data"][0]["customerId"] == acme.customer["id"]
        assert_error(await acme.client.get(f"/api/user/{zeta.user.id}"), 403, 20, NO_PERMISSION)


CLERK = {"email": "clerk@acme.example", "authority": "CUSTOMER_USER"}


class TestUsers:
    async def add(self, api: Api, customer: dict) -> dict:
        body = {**CLERK, "customerId": customer["id"], "firstName": "A", "additionalInfo": {"x": 1}}
        answer = await api.admin.post("/api/user?sendActivationMail=false", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def test_user_is_added_activated_and_logs_in(self, api: Api) -> None:
        acme = await add_customer(api)
        user = await self.add(api, acme)
        assert (user["name"], user["customerId"]) == ("clerk@acme.example", acme["id"])
        login = {"username": "clerk@acme.example", "password": ""}
        assert (await api.nobody.post("/api/auth/login", json=login)).status_code == 401
        link = await api.admin.get(f"/api/user/{id_of(user)}/activationLink")
        assert link.headers["content-type"].startswith("text/plain")
        told = (await api.nobody.get(link.text)).text
        assert "activateToken" in told
        assert link.text.partition("=")[2] not in told
        body = {"activateToken": link.text.partition("activateToken=")[2], "password": "s3cret!"}
        answer = await api.nobody.post("/api/noauth/activate?sendActivationMail=false", json=body)
        assert answer.status_code == 200, answer.text
        again = await api.nobody.post("/api/noauth/activate", json=body)
        assert assert_error(again, 400, 31)["message"].startswith("Unable to activate user")
        login["password"] = "s3cret!"
        tokens = (await api.nobody.post("/api/auth/login", json=login)).json()
        async with api.client(X_Authorization=f"Bearer {tokens['token']}") as client:
            assert (await client.get("/api/auth/user")).json()["customerId"] == acme["id"]
            path = f"/api/user/{id_of(user)}/userCredentialsEnabled"
            await api.admin.post(path, params={"userCredentialsEnabled": "False"})
            assert (await client.get("/api/auth/user")).status_code == 401
        disabled = await api.nobody.post("/api/auth/login", json=login)
        assert_error(disabled, 401, 10, "User account is not active")
        await api.admin.post(path)
        assert (await api.nobody.post("/api/auth/login", json=login)).status_code == 200
        already = await api.admin.get(f"/api/user/{id_of(user)}/activationLinkInfo")
        assert_error(already, 400, 31, "User is already activated!")

    async def test_link_says_how_long_it_is_good_for(self, api: Api) -> None:
        user = await self.add(api, await add_customer(api))
        info = (await api.admin.get(f"/api/user/{id_of(user)}/activationLinkInfo")).json()
        assert info["ttlMs"] == 86_400_000
        assert info["value"].startswith("http://gateway.example.org:8080/api/noauth/activate?activateToken=")

    async def test_no_mail_is_promised(self, api: Api) -> None:
        body = {**CLERK, "customerId": (await add_customer(api))["id"]}
        answer = assert_error(await api.admin.post("/api/user", json=body), 400, 31)
        assert answer["message"] == "This server sends no mail."
        assert "sendActivationMail=false" in str(answer["mend"])

    async def test_update_lists_and_removal(self, api: Api) -> None:
        acme = await add_customer(api)
        user = await self.add(api, acme)
        changed = await api.admin.post("/api/user", json={**user, "lastName": "B", "phone": "1"})
        assert (changed.json()["lastName"], changed.json()["phone"]) == ("B", "1")
        assert changed.json()["additionalInfo"] == {"x": 1}
        page = {"pageSize": 9, "page": 0}
        listed = (await api.admin.get(f"/api/customer/{id_of(acme)}/users", params=page)).json()
        assert listed["data"] == [changed.json()]
        everybody = await api.admin.get("/api/users", params={**page, "sortProperty": "email"})
        assert everybody.json()["totalElements"] == 2
        assert (await api.admin.delete(f"/api/user/{id_of(user)}")).status_code == 200
        message = f"User with id [{id_of(user)}] is not found"
        assert_error(await api.admin.get(f"/api/user/{id_of(user)}"), 404, 32, message)

    async def test_administrator_neither_goes_last_nor_locks_itself_out(
        self, api: Api, user: httpx.AsyncClient
    ) -> None:
        me = (await user.get("/api/auth/user")).json()
        message = "At least one tenant administrator must remain!"
        assert_error(await user.delete(f"/api/user/{id_of(me)}"), 400, 31, message)
        path = f"/api/user/{id_of(me)}/userCredentialsEnabled?userCredentialsEnabled=false"
        assert_error(await user.post(path), 400, 31)

    async def test_another_tenants_user_answers_as_an_unknown_one(self, api: Api) -> None:
        foreign = User(
            id=str(uuid.uuid4()),
            created_at_ms=1,
            tenant_id=api.other_tenant.id,
            authority="TENANT_ADMIN",
            email="foreign@example.org",
            password_hash="",
        )
        await api.services.store.add_user(foreign)
        for rule in RULES:
            if "{userId}" in rule.path:
                texts = []
                for user_id in (foreign.id, SOME_ID):
                    answer = await api.admin.request(
                        rule.method, concrete(rule.path).replace(SOME_ID, user_id)
                    )
                    assert answer.status_code == 404, rule
                    texts.append(answer.text.replace(user_id, "ID"))
                assert texts[0] == texts[1], rule
        assert await api.services.store.find_user(foreign.id) == foreign


class TestClaiming:
    async def claim(self, clerk: Clerk, name: str, secret: object = "s") -> httpx.Response:
        return await clerk.client.post(f"/api/customer/device/{name}/claim", json={"secretKey": secret})

    async def test_device_is_claimed_once_and_given_back(self, api: Api, acme: Clerk, zeta: Clerk) -> None:
        device = await api.add_device("Lamp 1")
        await api.services.claims.offer(id_of(device), "s")
        wrong = await self.claim(acme, "Lamp 1", "x")
        assert (wrong.status_code, wrong.json()) == (400, "FAILURE")
        right = await self.claim(acme, "Lamp 1")
        assert right.status_code == 200, right.text
        assert right.json()["response"] == "SUCCESS"
        assert right.json()["device"]["customerId"] == acme.customer["id"]
        late = await self.claim(zeta, "Lamp 1")
        assert (late.status_code, late.json()) == (400, "CLAIMED")
        path = "/api/customer/device/Lamp 1/claim"
        assert_error(await zeta.client.delete(path), 403, 20, NO_PERMISSION)
        back = await acme.client.delete(path)
        assert (back.status_code, back.content) == (200, b"")
        stored = (await api.admin.get(f"/api/device/{id_of(device)}")).json()
        assert stored["customerId"]["id"] == NULL_UUID
        assert (await api.admin.delete(path)).status_code == 200

    @pytest.mark.parametrize("body", [None, b"{}", b'{"secretKey":null}'])
    async def test_no_secret_is_the_empty_one(self, api: Api, acme: Clerk, body: bytes | None) -> None:
        await api.services.claims.offer(id_of(await api.add_device("Lamp 1")), "")
        headers = {"Content-Type": "application/json"}
        answer = await acme.client.post(
            "/api/customer/device/Lamp 1/claim?subCustomerId=", content=body, headers=headers
        )
        assert answer.status_code == 200, answer.text

    async def test_a_number_is_its_text(self, api: Api, acme: Clerk) -> None:
        await api.services.claims.offer(id_of(await api.add_device("Lamp 1")), "1234")
        assert (await self.claim(acme, "Lamp 1", 1234)).status_code == 200

    @pytest.mark.parametrize("name", ["device", "a/b", "温度 1"])
    async def test_names_with_slashes_and_those_that_look_like_paths(
        self, api: Api, acme: Clerk, name: str
    ) -> None:
        await api.services.claims.offer(id_of(await api.add_device(name)), "s")
        assert (await self.claim(acme, name)).status_code == 200
        assert (await acme.client.delete(f"/api/customer/device/{name}/claim")).status_code == 200

    async def test_unknown_and_foreign_names_are_not_found(self, api: Api, acme: Clerk) -> None:
        foreign = await api.add_foreign_device("Foreign")
        await api.services.claims.offer(foreign.id, "s")
        for name in ("Foreign", "none"):
            assert_error(await self.claim(acme, name), 404, 32, "Requested item wasn't found!")

    async def test_guessing_is_stopped(self, api: Api, acme: Clerk) -> None:
        await api.services.claims.offer(id_of(await api.add_device("Lamp 1")), "s")
        for _ in range(FAILURES_PER_DEVICE):
            await self.claim(acme, "Lamp 1", "x")
        answer = await self.claim(acme, "Lamp 1")
        assert_error(answer, 429, 33)
        assert int(answer.headers["Retry-After"]) > 0
