"""Who may: the role of every route, in one table, checked before the request's body is read.

A route that has no row cannot be made: its module fails to import. A test asks every route as nobody.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Coroutine
from typing import TypeAlias

import msgspec
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from thingpass.api.authentication import Authentication
from thingpass.api.error_answers import NO_PERMISSION
from thingpass.devices.roles import CUSTOMER_USER, TENANT_ADMIN
from thingpass.errors import Forbidden


class Role(enum.Enum):
    """Who may use a route."""

    ANYBODY = "anybody"
    USER = "any user who is logged in"
    TENANT = "a tenant administrator; devices, data and connections of the own tenant only"
    CUSTOMER = "a customer's user"
    TENANT_OR_CUSTOMER = "a tenant administrator, or a customer's user; devices of the own customer only"

    def is_for(self, authority: str) -> bool:
        """Whether somebody of this authority may use the route at all; what it may see is the route's."""
        match self:
            case Role.ANYBODY | Role.USER:
                return True
            case Role.TENANT:
                return authority == TENANT_ADMIN
            case Role.CUSTOMER:
                return authority == CUSTOMER_USER
            case Role.TENANT_OR_CUSTOMER:
                return authority in (TENANT_ADMIN, CUSTOMER_USER)


class Rule(msgspec.Struct, frozen=True):
    method: str
    path: str
    role: Role


TELEMETRY = "/api/plugins/telemetry/{entityType}/{entityId}"

RULES: tuple[Rule, ...] = (
    Rule("GET", "/healthz", Role.ANYBODY),
    Rule("GET", "/readyz", Role.ANYBODY),
    Rule("GET", "/metrics", Role.ANYBODY),
    Rule("GET", "/docs", Role.ANYBODY),
    Rule("GET", "/openapi.json", Role.ANYBODY),
    Rule("POST", "/api/auth/login", Role.ANYBODY),
    Rule("POST", "/api/auth/token", Role.ANYBODY),
    Rule("GET", "/api/auth/user", Role.USER),
    Rule("POST", "/api/auth/logout", Role.USER),
    Rule("POST", "/api/auth/changePassword", Role.USER),
    Rule("POST", "/api/device", Role.TENANT_OR_CUSTOMER),
    Rule("POST", "/api/device-with-credentials", Role.TENANT),
    Rule("GET", "/api/device/types", Role.TENANT_OR_CUSTOMER),
    Rule("GET", "/api/device/info/{deviceId}", Role.TENANT_OR_CUSTOMER),
    Rule("GET", "/api/device/{deviceId}", Role.TENANT_OR_CUSTOMER),
    Rule("DELETE", "/api/device/{deviceId}", Role.TENANT),
    Rule("GET", "/api/tenant/devices", Role.TENANT),
    Rule("GET", "/api/tenant/device", Role.TENANT),
    Rule("GET", "/api/tenant/deviceInfos", Role.TENANT),
    Rule("GET", "/api/device/{deviceId}/credentials", Role.TENANT_OR_CUSTOMER),
    Rule("POST", "/api/device/credentials", Role.TENANT),
    Rule("POST", "/api/deviceProfile", Role.TENANT),
    Rule("GET", "/api/deviceProfile/names", Role.TENANT),
    Rule("GET", "/api/deviceProfile/devices/keys/timeseries", Role.TENANT),
    Rule("GET", "/api/deviceProfile/devices/keys/attributes", Role.TENANT),
    Rule("GET", "/api/deviceProfile/{deviceProfileId}", Role.TENANT),
    Rule("DELETE", "/api/deviceProfile/{deviceProfileId}", Role.TENANT),
    Rule("POST", "/api/deviceProfile/{deviceProfileId}/default", Role.TENANT),
    Rule("GET", "/api/deviceProfiles", Role.TENANT),
    Rule("GET", "/api/deviceProfileInfo/default", Role.TENANT_OR_CUSTOMER),
    Rule("GET", "/api/deviceProfileInfo/{deviceProfileId}", Role.TENANT_OR_CUSTOMER),
    Rule("GET", "/api/deviceProfileInfos/list", Role.TENANT_OR_CUSTOMER),
    Rule("GET", "/api/deviceProfileInfos", Role.TENANT_OR_CUSTOMER),
    Rule("GET", TELEMETRY + "/keys/timeseries", Role.TENANT_OR_CUSTOMER),
    Rule("GET", TELEMETRY + "/values/timeseries", Role.TENANT_OR_CUSTOMER),
    Rule("GET", TELEMETRY + "/values/timeseries/history", Role.TENANT_OR_CUSTOMER),
    Rule("POST", TELEMETRY + "/timeseries/{scope}", Role.TENANT_OR_CUSTOMER),
    Rule("POST", TELEMETRY + "/timeseries/{scope}/{ttl}", Role.TENANT_OR_CUSTOMER),
    Rule("GET", TELEMETRY + "/keys/attributes", Role.TENANT_OR_CUSTOMER),
    Rule("GET", TELEMETRY + "/keys/attributes/{scope}", Role.TENANT_OR_CUSTOMER),
    Rule("GET", TELEMETRY + "/values/attributes", Role.TENANT_OR_CUSTOMER),
    Rule("GET", TELEMETRY + "/values/attributes/{scope}", Role.TENANT_OR_CUSTOMER),
    Rule("POST", TELEMETRY + "/attributes/{scope}", Role.TENANT_OR_CUSTOMER),
    Rule("POST", TELEMETRY + "/{scope}", Role.TENANT_OR_CUSTOMER),
    Rule("POST", "/api/plugins/telemetry/{deviceId}/{scope}", Role.TENANT_OR_CUSTOMER),
    Rule("DELETE", TELEMETRY + "/{scope}", Role.TENANT_OR_CUSTOMER),
    Rule("DELETE", "/api/plugins/telemetry/{deviceId}/{scope}", Role.TENANT_OR_CUSTOMER),
    Rule("POST", "/api/rpc/oneway/{deviceId}", Role.TENANT_OR_CUSTOMER),
    Rule("POST", "/api/rpc/twoway/{deviceId}", Role.TENANT_OR_CUSTOMER),
    Rule("POST", "/api/plugins/rpc/oneway/{deviceId}", Role.TENANT_OR_CUSTOMER),
    Rule("POST", "/api/plugins/rpc/twoway/{deviceId}", Role.TENANT_OR_CUSTOMER),
    Rule("GET", "/api/rpc/persistent/device/{deviceId}", Role.TENANT_OR_CUSTOMER),
    Rule("GET", "/api/rpc/persistent/{rpcId}", Role.TENANT_OR_CUSTOMER),
    Rule("POST", "/api/otaPackage", Role.TENANT),
    Rule("POST", "/api/otaPackage/{otaPackageId}", Role.TENANT),
    Rule("GET", "/api/otaPackage/info/{otaPackageId}", Role.TENANT_OR_CUSTOMER),
    Rule("GET", "/api/otaPackage/{otaPackageId}", Role.TENANT),
    Rule("GET", "/api/otaPackage/{otaPackageId}/download", Role.TENANT),
    Rule("DELETE", "/api/otaPackage/{otaPackageId}", Role.TENANT),
    Rule("GET", "/api/otaPackages", Role.TENANT_OR_CUSTOMER),
    Rule("GET", "/api/otaPackages/{deviceProfileId}/{type}", Role.TENANT_OR_CUSTOMER),
    Rule("GET", "/api/devices/count/{type}/{deviceProfileId}", Role.TENANT_OR_CUSTOMER),
    Rule("DELETE", "/api/rpc/persistent/{rpcId}", Role.TENANT),
    # ThingsBoard gives the trust anchor to anybody too: a client needs it before it can prove anything.
    Rule("GET", "/api/device-connectivity/{protocol}/certificate/download", Role.ANYBODY),
    Rule("GET", "/api/device-connectivity/{deviceId}", Role.TENANT_OR_CUSTOMER),
    Rule("GET", "/api/v2/connections", Role.TENANT),
    Rule("GET", "/api/v2/refusals", Role.TENANT),
    Rule("POST", "/api/v2/ota/assignment", Role.TENANT),
    Rule("GET", "/api/v2/ota/rollouts", Role.TENANT),
    Rule("GET", "/api/v2/ota/states", Role.TENANT),
    Rule("GET", "/api/v2/devices/{deviceId}/events", Role.TENANT),
    Rule("GET", "/api/v2/server", Role.USER),
    Rule("POST", "/api/customer", Role.TENANT),
    Rule("GET", "/api/customer/{customerId}", Role.TENANT_OR_CUSTOMER),
    Rule("GET", "/api/customer/{customerId}/shortInfo", Role.TENANT_OR_CUSTOMER),
    Rule("GET", "/api/customer/{customerId}/title", Role.TENANT_OR_CUSTOMER),
    Rule("DELETE", "/api/customer/{customerId}", Role.TENANT),
    Rule("GET", "/api/customers", Role.TENANT),
    Rule("GET", "/api/customers/list", Role.TENANT),
    Rule("GET", "/api/tenant/customers", Role.TENANT),
    Rule("POST", "/api/customer/{customerId}/device/{deviceId}", Role.TENANT),
    Rule("DELETE", "/api/customer/device/{deviceId}", Role.TENANT),
    Rule("POST", "/api/owner/{ownerType}/{ownerId}/DEVICE/{deviceId}", Role.TENANT),
    Rule("GET", "/api/customer/{customerId}/devices", Role.TENANT_OR_CUSTOMER),
    Rule("GET", "/api/customer/{customerId}/deviceInfos", Role.TENANT_OR_CUSTOMER),
    Rule("POST", "/api/customer/device/{deviceName}/claim", Role.CUSTOMER),
    Rule("DELETE", "/api/customer/device/{deviceName}/claim", Role.TENANT_OR_CUSTOMER),
    Rule("POST", "/api/user", Role.TENANT),
    Rule("GET", "/api/user/{userId}", Role.TENANT_OR_CUSTOMER),
    Rule("DELETE", "/api/user/{userId}", Role.TENANT),
    Rule("GET", "/api/users", Role.TENANT_OR_CUSTOMER),
    Rule("GET", "/api/customer/{customerId}/users", Role.TENANT),
    Rule("GET", "/api/user/{userId}/activationLink", Role.TENANT),
    Rule("GET", "/api/user/{userId}/activationLinkInfo", Role.TENANT),
    Rule("POST", "/api/user/{userId}/userCredentialsEnabled", Role.TENANT),
    # The link in the hand is the proof.
    Rule("GET", "/api/noauth/activate", Role.ANYBODY),
    Rule("POST", "/api/noauth/activate", Role.ANYBODY),
)

RequestHandler: TypeAlias = Callable[[Request], Coroutine[object, object, Response]]

_ROLES = {(rule.method, rule.path): rule.role for rule in RULES}


def role_of(method: str, path: str) -> Role:
    """Raises KeyError for a route that has no row."""
    return _ROLES[(method, plain_path(path))]


def plain_path(path: str) -> str:
    """A route's path as the table and the documentation write it."""
    return path.replace(":path}", "}")


class GuardedRoute(APIRoute):
    """A route that knows its caller before anything of the request's body is read or parsed."""

    def get_route_handler(self) -> RequestHandler:
        handle = self.make_handler()
        roles = {role_of(method, self.path) for method in self.methods or ()}
        if len(roles) != 1:
            raise KeyError(f"{self.path}: one role for each route, not {len(roles)}")
        role = roles.pop()

        async def guarded(request: Request) -> Response:
            if role is not Role.ANYBODY:
                authentication: Authentication = request.app.state.authentication
                caller = await authentication.identify(request)
                if not role.is_for(caller.authority):
                    raise Forbidden(NO_PERMISSION)
                request.state.caller = caller
            return await handle(request)

        return guarded

    def make_handler(self) -> RequestHandler:
        """The route itself, behind the guard; a subclass may shape its errors here."""
        return super().get_route_handler()
