"""Every error code of the service with its status. Knows no pytest."""

from email_service.kernel.errors import ServiceError


def error_codes(error: type[ServiceError] = ServiceError) -> dict[str, int]:
    found = {error.code: error.status}
    for each in error.__subclasses__():
        found |= error_codes(each)
    return found
